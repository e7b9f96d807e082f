"""The engine protocol: the two calls that guide, best-of-n, rewind and evaluation stand on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol, final, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from trimtab.engines.settings import Sampling
from trimtab.frozen.lm import FrozenLM
from trimtab.steering.reward import Reward
from trimtab.steering.steer import Steer

FinishReason = Literal["eos", "stop", "until", "length", "budget", "interrupted"]


@final
@dataclass(frozen=True)
class Choice:
    """One token, and what it was chosen from.

    Attributes:
        token_id: the token.
        column: where it stands among the candidates.
        candidates: token ids of C; of a very large C, the best.
        base_logprobs: log softmax(z) of the candidates, over the whole vocabulary.
        steered_logprobs: log softmax(z') of the candidates, over C, at temperature 1.
        rewards: [k] of each "reward:attribute" in the batch; NaN where this row is not steered by it.
    """

    token_id: int
    column: int
    candidates: Tensor
    base_logprobs: Tensor
    steered_logprobs: Tensor
    rewards: dict[str, Tensor]

    @property
    def base_logprob(self) -> float:
        """The log-probability that the unsteered model gave to the token, over the whole vocabulary."""
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
class Continuation:
    """What an engine wrote after a prefix.

    Attributes:
        choices: one a token.
        finish_reason: "eos", "stop" (a stop string), "until" (the request's), "length", or, of a search, "budget" or
            "interrupted".
    """

    choices: tuple[Choice, ...]
    finish_reason: FinishReason

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
        steer: how; None for plain sampling.
        seed: of its noise.
        greedy: take the best token at every step, whatever the temperature of the others.
        limit: the most tokens; None for no other limit than all have.
        until: end behind a token whose text ends in one of these characters.
    """

    prefix: Sequence[int]
    steer: Steer | None
    seed: int
    greedy: bool = False
    limit: int | None = None
    until: str = ""


@runtime_checkable
class Engine(Protocol):
    """What writes and what scores."""

    @property
    def lm(self) -> FrozenLM:
        """The language model."""

    def sample(
        self, requests: Sequence[Request], n: int, max_tokens: int, sampling: Sampling, stop: Sequence[str] = ()
    ) -> list[list[Continuation]]:
        """n continuations of each prefix, with the log-probabilities of their tokens."""

    def score(
        self, prefixes: Sequence[Sequence[int]], choices: Sequence[Sequence[Sequence[int]]]
    ) -> list[Float[Tensor, " choices"]]:
        """The log-probability of each choice (one or more tokens) right after its prefix."""

    def states(self, texts: Sequence[Sequence[int]], last: Sequence[int]) -> list[Float[Tensor, "positions hidden"]]:
        """The hidden states of the last tokens of each text, of a layer that knows what a text is about."""

    def rewards(self, reward: Reward, texts: Sequence[Sequence[int]]) -> Float[Tensor, "texts attributes"]:
        """The rewards of whole texts, unclamped."""
