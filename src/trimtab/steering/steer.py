"""A steer: which rewards, in which direction, how strongly. Steers are immutable and add up with `+`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from trimtab.checking import checked, shown
from trimtab.errors import InvalidSetting, WrongType
from trimtab.models.side_network import Reader
from trimtab.steering.notation import MAX_BETA
from trimtab.steering.reward import Reward

Clamp = tuple[float, float]
LEAST_LOGITS = 1e-6  # what a term may add at least, or 0: logits have seven digits


def check_counts(beta: float, clamp: Clamp | None) -> None:
    """Refuse a strength that is lost in rounding.

    Args:
        beta: the strength.
        clamp: the range of the rewards; None for no range.

    Raises:
        InvalidSetting: it is, and it is not 0.
    """
    if clamp is not None and 0 < abs(beta) * (clamp[1] - clamp[0]) < LEAST_LOGITS:
        raise InvalidSetting(
            f"got beta={beta} with rewards from {clamp[0]} to {clamp[1]}, expected a product of at least "
            f"{LEAST_LOGITS}, or beta=0: it is rounded away"
        )


@final
@checked
@dataclass(frozen=True)
class Term:
    """β × one attribute of one reward.

    Attributes:
        reward: the reward model.
        attribute: the column of its rewards.
        beta: the steering strength, in logits per unit of reward.
        away: steer towards low rewards.
        clamp: the range to which rewards are clamped first; None leaves them as they are.
        min_entropy: steer only where the base's next-token entropy, in nats, is at least this.
    """

    reward: Reward
    attribute: int
    beta: float
    away: bool = False
    clamp: Clamp | None = (0.0, 1.0)
    min_entropy: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.attribute < len(self.reward.attributes):
            raise InvalidSetting(
                f"got attribute={shown(self.attribute)}, expected 0 to {len(self.reward.attributes) - 1}: the column "
                f"of an attribute of {self.reward.name!r}"
            )
        if not abs(self.beta) <= MAX_BETA:
            raise InvalidSetting(
                f"got beta={shown(self.beta)}, expected a finite number, at most {MAX_BETA:g} either way"
            )
        if not (math.isfinite(self.min_entropy) and self.min_entropy >= 0):
            raise InvalidSetting(f"got min_entropy={self.min_entropy}, expected a finite number of nats, at least 0")
        if self.clamp is not None and not (all(map(math.isfinite, self.clamp)) and self.clamp[0] < self.clamp[1]):
            raise InvalidSetting(f"got clamp={self.clamp}, expected (low, high), both finite and low < high")
        check_counts(self.beta, self.clamp)

    @property
    def strength(self) -> float:
        """β with the sign of its direction: below 0 away from high rewards."""
        return -self.beta if self.away else self.beta


@final
@checked
@dataclass(frozen=True)
class Steer:
    """A sum of terms; `a + b` steers by both."""

    terms: tuple[Term, ...]

    @checked
    def __add__(self, other: "Steer") -> "Steer":
        return Steer(self.terms + other.terms)

    def __radd__(self, start: object) -> "Steer":
        """So that `sum(steers)` works, which starts at 0."""
        if start != 0:
            raise WrongType(f"got {shown(start)} + a steer, expected two steers")
        return self

    def check_acts(self, vocabulary: int | None = None) -> None:
        """Check that the terms can steer. Steering by β = 0 is none on purpose.

        Args:
            vocabulary: the number of tokens, if it is known: no entropy is above its logarithm.

        Raises:
            InvalidSetting: there are no terms, those of one attribute cancel each other, or a `min_entropy` is above
                every entropy.
        """
        if not self.terms:
            raise InvalidSetting("got a steer of no rewards, expected None for no steer")
        several = len(distinct_rewards([self])) > 1
        strengths: dict[object, list[float]] = {}
        for term in self.terms:
            which = term.reward.describe()["fingerprint"] if several else None
            strengths.setdefault((which, term.attribute, term.clamp, term.min_entropy), []).append(term.strength)
        if any(any(of_one) and abs(math.fsum(of_one)) < LEAST_LOGITS for of_one in strengths.values()):
            raise InvalidSetting(f"got the steers {self}, which cancel each other, expected one of them")
        highest = max(term.min_entropy for term in self.terms)
        if vocabulary is not None and highest > math.log(vocabulary):
            raise InvalidSetting(
                f"got min_entropy={highest:g}, expected at most {math.log(vocabulary):.4g} nats, the entropy of "
                f"{vocabulary} equal tokens"
            )

    def describe(self) -> list[dict[str, object]]:
        """The terms in records of a run: each reward with its fingerprint, its direction, β and the other settings."""
        return [
            {
                **term.reward.describe(),
                "attribute": term.reward.attributes[term.attribute],
                "direction": "away" if term.away else "toward",
                "beta": term.beta,
                "clamp": term.clamp,
                "min_entropy": term.min_entropy,
            }
            for term in self.terms
        ]

    def __repr__(self) -> str:
        return " + ".join(f"{t.reward.name}:{t.reward.attributes[t.attribute]}={t.strength:+g}" for t in self.terms)


def readers_of(steers: Sequence[Steer | None], model: object) -> set[Reader]:
    """What the rewards of some steers read from the cache of a model."""
    return {reader for reward in distinct_rewards(steers) if (reader := reward.reads(model)) is not None}


def distinct_rewards(steers: Sequence[Steer | None]) -> list[Reward]:
    """The distinct rewards of some steers, in order of appearance."""
    return list({id(term.reward): term.reward for steer in steers if steer for term in steer.terms}.values())
