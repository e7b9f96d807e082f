"""What a user reads: a continuation, its tokens, and for each token what it was chosen from and why."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

from trimtab.engines.base import Choice, Continuation, FinishReason
from trimtab.frozen.lm import FrozenLM

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
        chosen: whether it was drawn.
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
        text: what it adds to the text; empty within a character, and for EOS.
        finish_reason: why the text ends here; None before its last token.
        choice: the raw tensors behind it.
    """

    def __init__(self, lm: FrozenLM, choice: Choice, text: str, finish_reason: FinishReason | None):
        self._lm = lm
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
        """What it was chosen from, the most likely after steering first; those excluded by top-p are left out."""
        choice = self.choice
        order = choice.steered_logprobs.argsort(descending=True).tolist()
        return tuple(self._candidate(column) for column in order if choice.steered_logprobs[column] > -math.inf)

    def _candidate(self, column: int) -> Candidate:
        choice, token_id = self.choice, int(self.choice.candidates[column])
        return Candidate(
            text=str(self._lm.tokenizer.decode([token_id])),
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
    """The tokens of a generation; printed, a line for each with its strongest candidates."""

    def __init__(self, tokens: Sequence[Token]):
        self._tokens = tuple(tokens)

    def __getitem__(self, index: int) -> Token:  # type: ignore[override]
        return self._tokens[index]

    def __len__(self) -> int:
        return len(self._tokens)

    def __str__(self) -> str:
        return "\n".join(_trace_line(token) for token in self)


@final
class Generation:
    """A continuation of a prompt.

    Attributes:
        prompt: what was continued.
        text: the continuation, without the stop string that may have ended it.
        token_ids: its tokens, EOS included.
        finish_reason: "eos", "stop" or "length".
    """

    def __init__(self, lm: FrozenLM, prompt: str, continuation: Continuation, stop: Sequence[str]):
        self._lm, self._continuation = lm, continuation
        self.prompt = prompt
        self.token_ids = continuation.token_ids
        self.finish_reason = continuation.finish_reason
        self.text = cut_at_stop(lm.decode(self.token_ids), stop)

    def __repr__(self) -> str:
        return f"Generation({self.text!r}, {self.finish_reason!r})"

    @cached_property
    def trace(self) -> Trace:
        """Token by token: the candidates, their base log-probabilities and their rewards."""
        detokenizer = Detokenizer(self._lm)
        choices = self._continuation.choices
        reasons = [None] * (len(choices) - 1) + [self.finish_reason]
        return Trace(
            [
                Token(self._lm, choice, detokenizer.push(choice.token_id), reason)
                for choice, reason in zip(choices, reasons, strict=True)
            ]
        )

    @cached_property
    def mean_rewards(self) -> dict[str, float]:
        """The mean of each reward over the tokens."""
        rows = [token.rewards for token in self.trace]
        return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


@final
class Detokenizer:
    """Token ids in, text out, as soon as a character is whole."""

    def __init__(self, lm: FrozenLM):
        self._lm = lm
        self._ids: list[int] = []
        self._context = self._read = 0

    def push(self, token_id: int) -> str:
        """What a token adds to the text."""
        self._ids.append(token_id)
        before = self._lm.decode(self._ids[self._context : self._read])
        after = self._lm.decode(self._ids[self._context :])
        if after == before or after.endswith(UNFINISHED_CHARACTER):  # a special token, or half a character
            return ""
        self._context, self._read = self._read, len(self._ids)
        return after[len(before) :]


@final
class StreamedText:
    """Text that may end in a stop string: what could be the start of one is held back."""

    def __init__(self, stop: Sequence[str]):
        self._stop = [s for s in stop if s]
        self._held = ""

    def push(self, text: str, last: bool) -> str:
        """Take text in and give out what is safe to show; everything up to the stop string if it was the last."""
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


def stream_tokens(
    lm: FrozenLM, choices: Iterator[tuple[Choice, FinishReason | None]], stop: Sequence[str]
) -> Iterator[Token]:
    """Tokens as they come; their texts joined are the text that `Generation` would have."""
    detokenizer, shown = Detokenizer(lm), StreamedText(stop)
    for choice, reason in choices:
        text = shown.push(detokenizer.push(choice.token_id), last=reason is not None)
        yield Token(lm, choice, text, reason)


def _trace_line(token: Token) -> str:
    rewards = " ".join(f"{name}={value:.3f}" for name, value in token.rewards.items())
    others = [c for c in token.candidates if not c.chosen][:SHOWN_CANDIDATES]
    rest = " ".join(f"{c.text!r} {c.base_logprob:.2f}→{c.logprob:.2f}" for c in others)
    chosen = token.choice
    return f"{token.text!r:>16} {chosen.base_logprob:6.2f}→{chosen.logprob:6.2f}  {rewards}  over {rest}"
