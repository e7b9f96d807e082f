"""From the engine's tokens to pieces of text: what one event of a stream says about one sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

from trimtab.engines.base import Choice, Chunk, FinishReason
from trimtab.generation import Token
from trimtab.models.codec import TextCodec
from trimtab.models.detokenizer import Detokenizer, StreamedText


@final
@dataclass(frozen=True)
class Piece:
    """New text of one sample, and the tokens behind it.

    Attributes:
        text: what is certain of it; a possible start of a stop string is held back.
        tokens: the new tokens, each with its own text.
        finish_reason: why the sample ends behind them; None while it continues.
        offset: characters of the sample's tokens before these.
        about: more for the choice's field `trimtab`, such as the score of a ranked draft.
        first: the text of a prompt's first token, which no choice stands for; None behind a prompt.
    """

    text: str
    tokens: tuple[Token, ...]
    finish_reason: FinishReason | None
    offset: int
    about: Mapping[str, Any] = field(default_factory=dict)
    first: str | None = None

    @property
    def length(self) -> int:
        """Characters of its tokens."""
        return len(self.first or "") + sum(len(token.text) for token in self.tokens)

    def moved(self, characters: int) -> "Piece":
        """The same piece behind so many more characters."""
        return replace(self, offset=self.offset + characters)

    def with_score(self, score: float) -> "Piece":
        """The same piece with the score that ranked it."""
        return replace(self, about={"score": score})


@final
class SampleText:
    """The text of one sample as it comes; its pieces joined are the text that the library returns."""

    def __init__(self, codec: TextCodec, stop: Sequence[str]):
        self._codec, self._detokenizer, self._shown = codec, Detokenizer(codec), StreamedText(stop)
        self._length = 0

    def push(self, chunk: Chunk) -> Piece:
        """Take new tokens."""
        start, texts, tokens = self._length, [], []
        for place, choice in enumerate(chunk.choices, start=1):
            reason = chunk.finish_reason if place == len(chunk.choices) else None
            token = self._token(choice, reason)
            texts.append(self._shown.push(token.text, reason is not None))
            tokens.append(token)
        return Piece("".join(texts), tuple(tokens), chunk.finish_reason, start)

    def _token(self, choice: Choice, reason: FinishReason | None) -> Token:
        text = self._detokenizer.push(choice.token_id, reason is not None)
        self._length += len(text)
        return Token(self._codec, choice, text, reason)


def joined(pieces: Sequence[Piece]) -> Piece:
    """All pieces of one sample as one."""
    tokens = tuple(token for piece in pieces for token in piece.tokens)
    text, last = "".join(piece.text for piece in pieces), pieces[-1]
    return Piece(text, tokens, last.finish_reason, 0, last.about, pieces[0].first)
