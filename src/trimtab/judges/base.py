"""A judge returns a score from 0 (bad) to 1 (good) for each text."""

from collections.abc import Sequence
from numbers import Real
from typing import Any, Protocol, runtime_checkable

from trimtab.engines.base import Capability, Engine
from trimtab.errors import InvalidData
from trimtab.judges.draft import Draft
from trimtab.models.codec import TextCodec

TOLERANCE = 1e-6  # of a score's range, for rounding
DEFAULT_THRESHOLD = 0.5


@runtime_checkable
class Judge(Protocol):
    """Scores drafts. A search looks for texts with high scores; evaluation measures texts by their scores."""

    @property
    def name(self) -> str:
        """Its name in tables and records."""

    def score(self, drafts: Sequence[Draft], engine: Engine | None) -> Sequence[float]:
        """The score of each draft.

        Args:
            drafts: the texts.
            engine: the engine that wrote them; None if there is none. A judge that needs one is a `NeedsEngine`.
        """


@runtime_checkable
class HasThreshold(Protocol):
    """A judge with a threshold of its own."""

    @property
    def threshold(self) -> float:
        """The lowest score that counts as high."""


@runtime_checkable
class NeedsEngine(Protocol):
    """A judge that asks the engine."""

    @property
    def needs(self) -> frozenset[Capability]:
        """What the engine must be able to do."""


@runtime_checkable
class ReadsTokens(Protocol):
    """A judge that reads tokens in a context of limited length, as rewards and self-judges do."""

    def room(self, codec: TextCodec, prompt: str, prompt_ids: Sequence[int]) -> int:
        """The most tokens that it can read of a continuation.

        Args:
            codec: the codec of the model that writes.
            prompt: the prompt as text.
            prompt_ids: the prompt's tokens, chat template included.

        Raises:
            RewardMismatch: it reads the tokens of another tokenizer.
        """


def threshold_of(judge: Judge) -> float:
    """The lowest score that counts as high: the judge's own threshold, or ½."""
    return judge.threshold if isinstance(judge, HasThreshold) else DEFAULT_THRESHOLD


def needs_of(judge: Judge) -> frozenset[Capability]:
    """What a judge needs of an engine; empty for most judges."""
    return judge.needs if isinstance(judge, NeedsEngine) else frozenset()


def checked(name: str, scores: Sequence[Any]) -> list[float]:
    """The scores as floats from 0 to 1.

    Raises:
        InvalidData: a score is not a number, or is out of range by more than rounding.
    """
    for score in scores:
        if not isinstance(score, Real) or not -TOLERANCE <= float(score) <= 1 + TOLERANCE:
            raise InvalidData(f"got {score} from the judge {name!r}, expected a number from 0 (bad) to 1 (good)")
    return [min(max(float(score), 0.0), 1.0) for score in scores]
