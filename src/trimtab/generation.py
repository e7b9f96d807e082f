"""The result of a call: a continuation, its tokens, and for each token the candidates and their rewards."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, final, overload

import torch

from trimtab.engines.base import Choice, Chunk, Continuation, FinishReason
from trimtab.models.codec import Prompt, TextCodec
from trimtab.models.detokenizer import Detokenizer, StreamedText, cut_at_stop, visible_ids

SHOWN_CANDIDATES = 3
PLAIN = ("token_id", "column", "kl", "scale")  # the fields of a choice that are numbers
TENSORS = ("candidates", "base_logprobs", "steered_logprobs")


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

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle holds: the texts of the candidates instead of the tokenizer, numbers instead of tensors."""
        kept = {"text": self.text, "finish_reason": self.finish_reason, "candidates": self.candidates}
        return {**kept, "choice": _plain_choice(self.choice)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= {**state, "choice": _choice_of(state["choice"])}

    def as_dict(self) -> dict[str, Any]:
        """The token with its candidates, ready for JSON."""
        return {
            "text": self.text,
            "token_id": self.token_id,
            "base_logprob": self.choice.base_logprob,
            "logprob": self.choice.logprob,
            "rewards": self.rewards,
            "kl": self.choice.kl,
            "scale": self.choice.scale,
            "candidates": [asdict(candidate) for candidate in self.candidates],
        }

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
        sample: its number among the samples of the prompt, from 0.
        usage: forward calls of the language model, tokens drafted and accepted.

    Args:
        codec: decodes the tokens.
        prompt: the prompt.
        continuations: one per sample.
        stop: the strings that end a text.
        provenance: gives the record of what wrote it; default: an empty one.
        sample: the number of the first continuation.
    """

    def __init__(
        self,
        codec: TextCodec,
        prompt: Prompt,
        continuations: Sequence[Continuation],
        stop: Sequence[str] = (),
        provenance: Callable[[], Mapping[str, object]] = dict,
        sample: int = 0,
    ):
        first, *others = continuations
        self._codec, self._continuation = codec, first
        self.prompt = prompt
        self._stop, self._made_by = tuple(stop), provenance
        self.sample = sample
        self.token_ids = first.token_ids
        self.finish_reason = first.finish_reason
        self.usage = first.usage
        self.text = cut_at_stop(codec.decode_behind(self.token_ids), stop)
        self._others = tuple(
            Generation(codec, prompt, [other], stop, provenance, number)
            for number, other in enumerate(others, start=sample + 1)
        )

    def __repr__(self) -> str:
        return f"Generation({self.text!r}, {self.finish_reason!r})"

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle holds: the trace, and neither the model nor the tokenizer."""
        left_out = ("_codec", "_continuation", "_made_by")
        kept = {name: value for name, value in self.__dict__.items() if name not in left_out}
        return {**kept, "visible_ids": self.visible_ids, "trace": self.trace, "provenance": self.provenance}

    def as_dict(self) -> dict[str, object]:
        """This sample with its usage, its whole trace and its provenance, ready for JSON."""
        given = "prompt" if isinstance(self.prompt, str) else "messages"
        return {
            given: self.prompt if isinstance(self.prompt, str) else [dict(message) for message in self.prompt],
            "sample": self.sample,
            "text": self.text,
            "token_ids": self.token_ids,
            "finish_reason": self.finish_reason,
            "mean_rewards": self.mean_rewards,
            "usage": self.usage.as_dict(),
            "trace": [token.as_dict() for token in self.trace],
            "provenance": self.provenance,
        }

    def rewritten(self, continuation: Continuation, sample: int) -> "Generation":
        """Another continuation of the same prompt, with the same stop strings and provenance.

        Args:
            continuation: the continuation.
            sample: its number among the samples of the prompt.
        """
        return Generation(self._codec, self.prompt, [continuation], self._stop, self._made_by, sample)

    @property
    def samples(self) -> tuple["Generation", ...]:
        """All n samples of the prompt; the first is this one."""
        return (self, *self._others)

    @cached_property
    def visible_ids(self) -> list[int]:
        """The tokens of the text: without EOS, and without the stop string that may have ended it."""
        return visible_ids(self._codec, self.token_ids, self._stop)

    @cached_property
    def provenance(self) -> dict[str, object]:
        """What wrote it, ready for JSON.

        Versions, model and weights, rewards with their fingerprints and β, sampling and seed, dtype and device. The
        first look at it hashes the weights.
        """
        return dict(self._made_by())

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


def stream_tokens(codec: TextCodec, chunks: Iterator[Chunk], stop: Sequence[str]) -> Iterator[Token]:
    """The tokens of one sample as they come; their texts joined are the text of its `Generation`."""
    detokenizer, shown = Detokenizer(codec), StreamedText(stop)
    for chunk in chunks:
        for place, choice in enumerate(chunk.choices, start=1):
            reason = chunk.finish_reason if place == len(chunk.choices) else None
            last = reason is not None
            text = shown.push(detokenizer.push(choice.token_id, last), last)
            yield Token(codec, choice, text, reason)


def _plain_choice(choice: Choice) -> dict[str, Any]:
    """A choice as numbers: a tensor of one row would be pickled with the whole batch."""
    rewards = {name: _plain_values(values) for name, values in choice.rewards.items()}
    tensors = {name: _plain_values(getattr(choice, name)) for name in TENSORS}
    numbers = {name: getattr(choice, name) for name in PLAIN}
    return {**numbers, "rewards": rewards, **tensors}


def _choice_of(plain: dict[str, Any]) -> Choice:
    tensors: dict[str, Any] = {name: _tensor(*plain[name]) for name in TENSORS}
    rewards = {name: _tensor(*values) for name, values in plain["rewards"].items()}
    return Choice(**{name: plain[name] for name in PLAIN}, rewards=rewards, **tensors)


def _plain_values(values: torch.Tensor) -> tuple[list[Any], torch.dtype]:
    return values.tolist(), values.dtype


def _tensor(values: list[Any], dtype: torch.dtype) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype)


def _trace_line(token: Token) -> str:
    rewards = " ".join(f"{name}={value:.3f}" for name, value in token.rewards.items())
    others = [c for c in token.candidates if not c.chosen][:SHOWN_CANDIDATES]
    rest = " ".join(f"{c.text!r} {c.base_logprob:.2f}→{c.logprob:.2f}" for c in others)
    chosen = token.choice
    spent = (f" KL={chosen.kl:.2f}" if rewards else "") + (f" (×{chosen.scale:.2f})" if chosen.scale < 1 else "")
    return f"{token.text!r:>16} {chosen.base_logprob:6.2f}→{chosen.logprob:6.2f}  {rewards}{spent}  over {rest}"
