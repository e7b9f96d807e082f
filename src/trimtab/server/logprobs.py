"""Log-probabilities in OpenAI's two formats.

They are those of the distribution that was sampled, at temperature 1: of a steered text, after steering over the
candidates; of an unsteered one, the model's own over the whole vocabulary. EOS is no token of a text,
unless the prompt is echoed: then every token is shown.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from trimtab.generation import Candidate, Token
from trimtab.models.codec import TextCodec
from trimtab.server.pieces import Piece


class TopToken(NamedTuple):
    """A token and its log-probability."""

    text: str
    logprob: float


def text_logprobs(tokens: Sequence[Token], piece: Piece, top: int, steered: bool) -> dict[str, Any]:
    """The `logprobs` of a completion: parallel lists. A prompt's first token has none.

    Args:
        tokens: those of the piece that are shown.
        piece: tells where they begin.
        top: candidates per token.
        steered: whether the text is.
    """
    first = [] if piece.first is None else [piece.first]
    texts = [*first, *(token.text for token in tokens)]
    none: list[Any] = [None] * len(first)
    return {
        "tokens": texts,
        "token_logprobs": [*none, *(logprob_of(token, steered) for token in tokens)],
        "top_logprobs": [*none, *(_by_text(top_tokens(token, top, steered)) for token in tokens)],
        "text_offset": list(accumulate(map(len, texts), initial=piece.offset))[:-1],
    }


def chat_logprobs(tokens: Sequence[Token], top: int, steered: bool) -> dict[str, Any]:
    """The `logprobs` of a chat: one object for each token."""
    return {
        "content": [
            {
                **_entry(token.text, logprob_of(token, steered)),
                "top_logprobs": [_entry(*each) for each in top_tokens(token, top, steered)],
            }
            for token in tokens
        ],
        "refusal": None,
    }


def logprob_of(token: Token, steered: bool) -> float:
    """The log-probability of a token."""
    return token.choice.logprob if steered else token.choice.base_logprob


def top_tokens(token: Token, top: int, steered: bool) -> list[TopToken]:
    """The most likely candidates, the best first."""

    def logprob(candidate: Candidate) -> float:
        return candidate.logprob if steered else candidate.base_logprob

    ordered = sorted(token.candidates, key=logprob, reverse=True)[:top] if top else []
    return [TopToken(candidate.text, logprob(candidate)) for candidate in ordered]


def without_eos(tokens: Sequence[Token], codec: TextCodec) -> list[Token]:
    """The tokens that are text."""
    return [token for token in tokens if token.token_id not in codec.eos_token_ids]


def _by_text(tokens: Sequence[TopToken]) -> dict[str, float] | None:
    """The log-probabilities by text; the best one of a text that several tokens have. None if nobody asks for them."""
    return {each.text: each.logprob for each in reversed(tokens)} or None


def _entry(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode("utf-8", "replace"))}
