"""A judge returns a score from 0 (bad) to 1 (good) for each text."""

from collections.abc import Sequence
from numbers import Real
from typing import Any, Literal, Protocol, runtime_checkable

from trimtab.checking import shown
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


@runtime_checkable
class JudgesWholeTexts(Protocol):
    """A judge of finished texts, such as programs that run. A search writes its drafts to the end for it."""

    @property
    def judges_whole_texts(self) -> Literal[True]:
        """True."""


@runtime_checkable
class DescribesItself(Protocol):
    """A judge that says what it is made of."""

    def describe(self) -> dict[str, str]:
        """The judge in records of a run, such as a hash of its question, or the fingerprints of its rewards."""


def description_of(judge: Judge) -> dict[str, str]:
    """The judge in records of a run: its name under `judge`, and what else it says about itself."""
    about = judge.describe() if isinstance(judge, DescribesItself) else {}
    return {"judge": judge.name} | {str(key): str(value) for key, value in about.items()}


def threshold_of(judge: Judge) -> float:
    """The lowest score that counts as high: the judge's own threshold, or ½."""
    return judge.threshold if isinstance(judge, HasThreshold) else DEFAULT_THRESHOLD


def needs_of(judge: Judge) -> frozenset[Capability]:
    """What a judge needs of an engine; empty for most judges."""
    return judge.needs if isinstance(judge, NeedsEngine) else frozenset()


def check_scores(name: str, scores: Any, count: int) -> list[float]:
    """The scores of a judge as floats from 0 to 1.

    Args:
        name: the judge's name, for messages.
        scores: what the judge returned.
        count: the number of texts.

    Raises:
        InvalidData: there is not one score for each text, or one is no number, or out of range by more than rounding.
    """
    for score in (found := one_for_each(name, scores, count)):
        if not _in_range(score):
            raise InvalidData(f"got {shown(score)} from {_judge(name)}, expected a number from 0 (bad) to 1 (good)")
    return [min(max(float(score), 0.0), 1.0) for score in found]


def _in_range(score: Any) -> bool:
    try:
        return isinstance(score, Real) and -TOLERANCE <= float(score) <= 1 + TOLERANCE
    except OverflowError:  # a whole number that no float can hold
        return False


def one_for_each(name: str, scores: Any, count: int) -> list[Any]:
    """The scores of a judge as a list, one for each text. Arguments as in `check_scores`.

    Raises:
        InvalidData: they are no list, or are more or fewer than the texts.
    """
    if isinstance(scores, str | bytes) or not (hasattr(scores, "__len__") and hasattr(scores, "__iter__")):
        raise InvalidData(f"got {shown(scores)} from {_judge(name)}, expected a list with a score for each text")
    if len(scores) != count:
        raise InvalidData(f"got {len(scores)} scores from {_judge(name)} for {count} texts, expected one for each")
    return list(scores)


def _judge(name: str) -> str:
    return f"the judge {shown(name)}"
