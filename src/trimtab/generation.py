"""The result of a call: a continuation, its tokens, and for each token the candidates and their rewards."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final, overload

from trimtab.engines.base import Choice, Chunk, Continuation, FinishReason
from trimtab.models.codec import Prompt, TextCodec

UNFINISHED_CHARACTER = "\N{REPLACEMENT CHARACTER}"
SHOWN_CANDIDATES = 3


@final
@dataclass(frozen=True)
class Candidate:
    """One candidate for one token.

    Attributes:
        text: the token as text.
        token_id: the token.
        base_logprob: its log-probability before steering, over the whole vocabulary.
        logprob: its log-probability after steering, over the candidates, at temperature 1.
        rewards: {"reward:attribute": r}.
        chosen: whether it is the token that was written.
    """

    text: str
    token_id: int
    base_logprob: float
    logprob: float
    rewards: dict[str, float]
    chosen: bool


@final
class Token:
    """One token of a generation.

    Attributes:
        text: the text that it adds; empty within a character, and for EOS.
        finish_reason: why the text ends here; None before its last token.
        choice: the tensors of its step.
    """

    def __init__(self, codec: TextCodec, choice: Choice, text: str, finish_reason: FinishReason | None):
        self._codec = codec
        self.choice = choice
        self.text = text
        self.finish_reason = finish_reason

    def __repr__(self) -> str:
        return f"Token({self.text!r})"

    @property
    def token_id(self) -> int:
        """The token's id."""
        return self.choice.token_id

    @property
    def rewards(self) -> dict[str, float]:
        """{"reward:attribute": r} of this token."""
        return self._rewards(self.choice.column)

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """The candidates, most likely after steering first; without those that top-p excludes."""
        choice = self.choice
        order = choice.steered_logprobs.argsort(descending=True).tolist()
        return tuple(self._candidate(column) for column in order if choice.steered_logprobs[column] > -math.inf)

    def _candidate(self, column: int) -> Candidate:
        choice, token_id = self.choice, int(self.choice.candidates[column])
        return Candidate(
            text=self._codec.token_text(token_id),
            token_id=token_id,
            base_logprob=float(choice.base_logprobs[column]),
            logprob=float(choice.steered_logprobs[column]),
            rewards=self._rewards(column),
            chosen=column == choice.column,
        )

    def _rewards(self, column: int) -> dict[str, float]:
        values = {name: float(rewards[column]) for name, rewards in self.choice.rewards.items()}
        return {name: value for name, value in values.items() if not math.isnan(value)}


@final
class Trace(Sequence[Token]):
    """The tokens of a generation. Printing it shows one line per token, with its best candidates."""

    def __init__(self, tokens: Sequence[Token]):
        self._tokens = tuple(tokens)

    @overload
    def __getitem__(self, index: int) -> Token: ...

    @overload
    def __getitem__(self, index: slice) -> "Trace": ...

    def __getitem__(self, index: int | slice) -> "Token | Trace":
        return Trace(self._tokens[index]) if isinstance(index, slice) else self._tokens[index]

    def __len__(self) -> int:
        return len(self._tokens)

    def __str__(self) -> str:
        return "\n".join(_trace_line(token) for token in self)


@final
class Generation:
    """A continuation of a prompt.

    Attributes:
        prompt: the text or conversation that was continued.
        text: the continuation, without the stop string that may have ended it.
        token_ids: its tokens, EOS included.
        finish_reason: "eos", "stop" or "length"; a search may also end by "budget" or "interrupted".

    Args:
        codec: decodes the tokens.
        prompt: the prompt.
        continuations: one per sample.
        stop: the strings that end a text.
    """

    def __init__(
        self, codec: TextCodec, prompt: Prompt, continuations: Sequence[Continuation], stop: Sequence[str] = ()
    ):
        first, *others = continuations
        self._codec, self._continuation = codec, first
        self.prompt = prompt
        self.token_ids = first.token_ids
        self.finish_reason = first.finish_reason
        self.text = cut_at_stop(codec.decode(self.token_ids), stop)
        self._others = tuple(Generation(codec, prompt, [other], stop) for other in others)

    def __repr__(self) -> str:
        return f"Generation({self.text!r}, {self.finish_reason!r})"

    @property
    def samples(self) -> tuple["Generation", ...]:
        """All n samples of the prompt; the first is this one."""
        return (self, *self._others)

    @cached_property
    def trace(self) -> Trace:
        """Token by token: the candidates, their base log-probabilities and their rewards."""
        detokenizer, choices = Detokenizer(self._codec), self._continuation.choices
        tokens = [Token(self._codec, choice, detokenizer.push(choice.token_id), None) for choice in choices[:-1]]
        for last in choices[-1:]:
            text = detokenizer.push(last.token_id, last=True)
            tokens.append(Token(self._codec, last, text, self.finish_reason))
        return Trace(tokens)

    @cached_property
    def mean_rewards(self) -> dict[str, float]:
        """{"reward:attribute": the mean over the tokens}; empty without a steer."""
        rows = [token.rewards for token in self.trace]
        names = rows[0] if rows else {}
        return {name: sum(row[name] for row in rows) / len(rows) for name in names}


@final
class Detokenizer:
    """Turns token ids into text, as soon as a character is complete."""

    def __init__(self, codec: TextCodec):
        self._codec = codec
        self._ids: list[int] = []
        self._context = self._read = 0

    def push(self, token_id: int, last: bool = False) -> str:
        """The text that a token adds; with `last`, half a character too, as a replacement character."""
        self._ids.append(token_id)
        before = self._codec.decode(self._ids[self._context : self._read])
        after = self._codec.decode(self._ids[self._context :])
        half = after.endswith(UNFINISHED_CHARACTER) and not last
        if after == before or half:  # a special token, or half a character
            return ""
        self._context, self._read = self._read, len(self._ids)
        return after[len(before) :]


@final
class StreamedText:
    """Text that may end in a stop string: holds back what could be the start of one."""

    def __init__(self, stop: Sequence[str]):
        self._stop = [s for s in stop if s]
        self._held = ""

    def push(self, text: str, last: bool) -> str:
        """Take new text and return the text that is safe to show; with `last`, everything up to the stop string."""
        self._held += text
        if last:
            return cut_at_stop(self._held, self._stop)
        keep = max((len(s) - 1 for s in self._stop), default=0)
        safe = len(self._held) - keep if keep else len(self._held)
        shown, self._held = self._held[: max(safe, 0)], self._held[max(safe, 0) :]
        return shown


def cut_at_stop(text: str, stop: Sequence[str]) -> str:
    """The text before the first stop string in it."""
    places = [place for s in stop if s and (place := text.find(s)) >= 0]
    return text[: min(places)] if places else text


def stream_tokens(codec: TextCodec, chunks: Iterator[Chunk], stop: Sequence[str]) -> Iterator[Token]:
    """The tokens of one sample as they come; their texts joined are the text of its `Generation`."""
    detokenizer, shown = Detokenizer(codec), StreamedText(stop)
    for chunk in chunks:
        for place, choice in enumerate(chunk.choices, start=1):
            reason = chunk.finish_reason if place == len(chunk.choices) else None
            last = reason is not None
            text = shown.push(detokenizer.push(choice.token_id, last), last)
            yield Token(codec, choice, text, reason)


def _trace_line(token: Token) -> str:
    rewards = " ".join(f"{name}={value:.3f}" for name, value in token.rewards.items())
    others = [c for c in token.candidates if not c.chosen][:SHOWN_CANDIDATES]
    rest = " ".join(f"{c.text!r} {c.base_logprob:.2f}→{c.logprob:.2f}" for c in others)
    chosen = token.choice
    return f"{token.text!r:>16} {chosen.base_logprob:6.2f}→{chosen.logprob:6.2f}  {rewards}  over {rest}"
