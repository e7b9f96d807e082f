"""The engine protocol: everything that best-of, rewind, judges, evaluation and jobs may ask of a model."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from functools import cached_property
from typing import Literal, NamedTuple, Protocol, final, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from trimtab.engines.sampling_params import SamplingParams
from trimtab.errors import InvalidSetting, TrimtabError, UnsupportedByEngine
from trimtab.models.codec import TextCodec
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.usage import Usage
from trimtab.steering.reward import Reward
from trimtab.steering.steer import Steer

Capability = Literal["score", "read", "rewards", "states"]
FinishReason = Literal["eos", "stop", "until", "length", "budget", "interrupted"]


@final
@dataclass(frozen=True)
class Choice:
    """One token, and the candidates from which it was chosen.

    Attributes:
        token_id: the token.
        column: its index among the candidates.
        candidates: token ids of C; of a very large C, the best.
        base_logprobs: log softmax(z) of the candidates, over the whole vocabulary.
        steered_logprobs: log softmax(z') of the candidates, over C, at temperature 1.
        rewards: [k] of each "reward:attribute" in the batch; NaN where this row is not steered by it.
        kl: KL(softmax z' ‖ softmax z) over C, in nats: how far steering moved this step; 0 without a steer.
        scale: what was left of the steers' sum by the budget `max_kl`, from 0 to 1.
    """

    token_id: int
    column: int
    candidates: Tensor
    base_logprobs: Tensor
    steered_logprobs: Tensor
    rewards: dict[str, Tensor]
    kl: float = 0.0
    scale: float = 1.0

    @property
    def base_logprob(self) -> float:
        """The log-probability of the token without steering, over the whole vocabulary."""
        return float(self.base_logprobs[self.column])

    @property
    def logprob(self) -> float:
        """The log-probability of the token after steering, over C, at temperature 1."""
        return float(self.steered_logprobs[self.column])

    @property
    def flipped(self) -> bool:
        """Whether steering changed the most likely candidate."""
        return bool(self.steered_logprobs.argmax() != self.base_logprobs.argmax())


@final
@dataclass(frozen=True)
class DecodeUsage:
    """What the tokens of one text cost in forward calls of the language model, the prompt's included.

    Attributes:
        forwards: calls in which the text took part; 0 if the engine does not count them.
        drafted: tokens that were drafted and checked.
        accepted: those of them that are part of the text.
        tokens: of the text.
    """

    forwards: int = 0
    drafted: int = 0
    accepted: int = 0
    tokens: int = 0

    def __add__(self, other: "DecodeUsage") -> "DecodeUsage":
        return DecodeUsage(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))

    @property
    def acceptance(self) -> float:
        """The share of the drafted tokens that are part of the text; 0 without drafts."""
        return self.accepted / self.drafted if self.drafted else 0.0

    @property
    def tokens_per_forward(self) -> float:
        """Tokens of the text for each forward call, 1 token by token; 0 if the engine does not count its calls."""
        return self.tokens / self.forwards if self.forwards else 0.0

    def as_dict(self) -> dict[str, float]:
        """All figures, ready for JSON."""
        return {**asdict(self), "acceptance": self.acceptance, "tokens_per_forward": self.tokens_per_forward}


@final
@dataclass(frozen=True)
class Continuation:
    """A finished continuation of a prefix.

    Attributes:
        choices: one per token.
        finish_reason: "eos", "stop" (a stop string), "until" (a character of the request), "length"; a search may also
            end by "budget" or "interrupted".
        usage: what it cost.
    """

    choices: tuple[Choice, ...]
    finish_reason: FinishReason
    usage: DecodeUsage = DecodeUsage()

    @cached_property
    def token_ids(self) -> list[int]:
        """The tokens, EOS included if there was one."""
        return [choice.token_id for choice in self.choices]


@final
@dataclass(frozen=True)
class Request:
    """One prefix to continue.

    Attributes:
        prefix: token ids.
        params: how to sample; the seed must be set.
        steer: how to steer; None for plain sampling.
        until: end behind a token whose text ends in one of these characters.
        written: tokens that are written behind the prefix already. The text continues behind them as if one call wrote
            it all; `max_new_tokens` counts what comes behind them.
        first_sample: the number of the first of its samples, on which the noise depends.

    Raises:
        InvalidSetting: no seed. An engine never draws one, so that every text can be written again.
    """

    prefix: Sequence[int]
    params: SamplingParams
    steer: Steer | None = None
    until: str = ""
    written: tuple[int, ...] = ()
    first_sample: int = 0

    def __post_init__(self) -> None:
        if self.params.seed is None:
            raise InvalidSetting("got a request without a seed, expected params.with_seed()")

    @property
    def tokens(self) -> tuple[int, ...]:
        """The prefix and what is written behind it."""
        return (*self.prefix, *self.written)


@final
@dataclass(frozen=True)
class Chunk:
    """New tokens of one sample of one request.

    Attributes:
        request: the index of the request.
        sample: the number of the sample, below the request's n.
        choices: the new tokens, one or more; with a fault there may be none.
        finish_reason: why the sample ends behind them; None while it continues.
        fault: the error that ends the sample behind them; None for none.
        usage: what the new tokens cost.
    """

    request: int
    sample: int
    choices: tuple[Choice, ...]
    finish_reason: FinishReason | None
    fault: TrimtabError | None = None
    usage: DecodeUsage = DecodeUsage()


class Scored(NamedTuple):
    """The likelihood of some continuations.

    Attributes:
        logprobs: log p(continuation | prefix), in nats, summed over its tokens.
        greedy: whether each of its tokens was the most likely one.
    """

    logprobs: Float[Tensor, " continuations"]
    greedy: Bool[Tensor, " continuations"]


@runtime_checkable
class Engine(Protocol):
    """Writes texts and, if it has the capability, scores them.

    `codec`, `sample` and `stream` are always there. What else an engine can do is in `capabilities`: callers check
    with `require` before they start any work.
    """

    @property
    def codec(self) -> TextCodec:
        """Prompts to token ids, token ids to text."""

    @property
    def vocabulary_size(self) -> int:
        """How many logits the model returns."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """The optional methods that it has: `score`, `read`, `rewards`, `states`."""

    @property
    def base(self) -> FrozenLM | None:
        """The model and tokenizer, if they are in this process: rewards share their weights."""

    @property
    def usage(self) -> Usage:
        """Tokens and forward calls since the engine, or this session, was made."""

    def describe(self) -> dict[str, str]:
        """The engine in records of a run: `engine`, `model`, `base_fingerprint`, `dtype`, `device`.

        Where they can be read, also hashes: `weights_fingerprint` of all weights, `config_fingerprint`,
        `tokenizer_fingerprint` and `chat_template_fingerprint`.
        """

    def session(self) -> "Engine":
        """The same model with a prefix cache and a usage count of its own, for a search or several calls."""

    def sample(self, requests: Sequence[Request]) -> list[list[Continuation]]:
        """The n continuations of each request.

        Raises:
            InvalidSetting, InvalidPrompt, RewardMismatch: before anything runs.
            NonFiniteReward, NonFiniteLogits: a reward or the language model gives NaN or an infinite number.
        """

    def stream(self, requests: Sequence[Request]) -> Iterator[list[Chunk]]:
        """The same continuations, as they are written: each item holds the new tokens of some samples."""

    def score(
        self,
        prefixes: Sequence[Sequence[int]],
        continuations: Sequence[Sequence[Sequence[int]]],
        steer: Steer | None = None,
        top_k: int | None = None,
        max_kl: float | None = None,
    ) -> list[Scored]:
        """The likelihood of given continuations right after their prefixes, unsteered or steered.

        Args:
            prefixes: token ids.
            continuations: for each prefix its continuations, one or more tokens each.
            steer: None for the model's own probabilities.
            top_k: with a steer, the candidates per step; a continuation's token that is not among them is added.
            max_kl: the steer's budget, in nats per token; None for no budget.
        """

    def read(
        self,
        texts: Sequence[Sequence[int]],
        steer: Steer | None = None,
        top_k: int | None = None,
        max_kl: float | None = None,
    ) -> list[tuple[Choice, ...]]:
        """The choice of each token of each text but the first: what a step would have recorded that wrote it.

        Args:
            texts: one or more token ids each.
            steer: None for the model's own probabilities.
            top_k: the candidates of each choice; a token that is not among them is added. None for the whole
                vocabulary.
            max_kl: the steer's budget, in nats per token; None for no budget.
        """

    def rewards(self, reward: Reward, texts: Sequence[Sequence[int]]) -> Float[Tensor, "texts attributes"]:
        """The rewards of whole texts, unclamped."""

    def states(self, texts: Sequence[Sequence[int]], last: Sequence[int]) -> list[Float[Tensor, "positions hidden"]]:
        """The hidden states of the last tokens of each text, two thirds up the layers."""


@runtime_checkable
class JoiningBatch(Protocol):
    """A batch whose requests come and go between steps. One thread uses it."""

    @property
    def active(self) -> bool:
        """Whether any row is unfinished."""

    def add(self, requests: Sequence[Request], limits: Sequence[int]) -> list[int]:
        """Add the rows of checked requests, with their limits; returns the requests' numbers."""

    def step(self) -> list[Chunk]:
        """Write tokens of the rows."""

    def cancel(self, request: int) -> None:
        """Drop the rows of a request."""

    def close(self) -> None:
        """Drop all rows, also after a step that failed."""


@runtime_checkable
class StartsBatches(Protocol):
    """An engine whose requests may join and leave a running batch."""

    def limits(self, requests: Sequence[Request]) -> list[int]:
        """How many tokens each request may have; all that can be checked before the work starts is checked."""

    def start_batch(self) -> JoiningBatch:
        """An empty batch."""


def require(engine: Engine, needed: Iterable[Capability], purpose: str) -> None:
    """Refuse an engine that lacks a capability.

    Raises:
        UnsupportedByEngine: naming what is missing and what for.
    """
    if missing := set(needed) - engine.capabilities:
        raise UnsupportedByEngine(
            f"{purpose} needs an engine with {', '.join(sorted(missing))}; {type(engine).__name__} has "
            f"{', '.join(sorted(engine.capabilities)) or 'none of these'}"
        )


def require_base(engine: Engine, purpose: str) -> FrozenLM:
    """The model in this process.

    Raises:
        UnsupportedByEngine: its weights are elsewhere.
    """
    if engine.base is None:
        raise UnsupportedByEngine(
            f"{purpose} needs the model in this process; {type(engine).__name__} keeps it elsewhere"
        )
    return engine.base


def raise_fault(requests: Sequence[Request], chunks: Sequence[Chunk]) -> None:
    """Raise the fault of the first chunk that has one; the message names its prompt and sample.

    Args:
        requests: all requests of the call.
        chunks: of one step.
    """
    for chunk in chunks:
        if chunk.fault is not None:
            prompt = f"prompt {chunk.request + 1} of {len(requests)}"
            raise type(chunk.fault)(f"{chunk.fault} ({prompt}, sample {chunk.sample})") from chunk.fault


def collect(requests: Sequence[Request], chunks: Iterable[Sequence[Chunk]]) -> list[list[Continuation]]:
    """Fold a stream into the finished continuations of each request."""
    choices: list[list[list[Choice]]] = [[[] for _ in range(request.params.n)] for request in requests]
    reasons: list[list[FinishReason]] = [["length"] * request.params.n for request in requests]
    usages = [[DecodeUsage()] * request.params.n for request in requests]
    for chunk in (chunk for together in chunks for chunk in together):
        choices[chunk.request][chunk.sample] += chunk.choices
        reasons[chunk.request][chunk.sample] = chunk.finish_reason or "length"
        usages[chunk.request][chunk.sample] += chunk.usage
    return [
        [
            Continuation(tuple(written), reason, used)
            for written, reason, used in zip(of_request, why, usage, strict=True)
        ]
        for of_request, why, usage in zip(choices, reasons, usages, strict=True)
    ]
