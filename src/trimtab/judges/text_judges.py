"""Judges that read texts alone: a classifier, or any Python function."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from transformers import Pipeline

from trimtab.engines.base import Engine
from trimtab.errors import InvalidSetting
from trimtab.judges.base import DEFAULT_THRESHOLD, checked
from trimtab.judges.draft import Draft

Classify = Callable[[Sequence[str]], Sequence[float]]  # texts to scores, each from 0 to 1


@final
@dataclass(frozen=True)
class TextJudge:
    """A classifier of continuations as a judge.

    Attributes:
        name: its name in tables and records.
        classify: maps some texts to scores from 0 to 1, such as the probability of a label. It may raise, and it may
            return NaN: evaluation counts such texts as failed.
        threshold: the lowest score that counts as high.
        avoid: what the classifier looks for is bad: the score is 1 − x.
    """

    name: str
    classify: Classify
    threshold: float = DEFAULT_THRESHOLD
    avoid: bool = False

    @classmethod
    def from_pipeline(cls, pipeline: Pipeline, label: str, avoid: bool = False) -> "TextJudge":
        """The probability of one label of a transformers text-classification pipeline.

        Raises:
            InvalidSetting: the pipeline has no such label.
        """
        labels = [str(each) for each in pipeline.model.config.id2label.values()]
        if label not in labels:
            raise InvalidSetting(f"got the label {label!r}, expected one of {', '.join(labels)}")

        def classify(texts: Sequence[str]) -> list[float]:
            found = pipeline(list(texts), truncation=True, top_k=None)
            return [next(each["score"] for each in of_text if each["label"] == label) for of_text in found]

        return cls(label, classify, avoid=avoid)

    def score(self, drafts: Sequence[Draft], engine: Engine | None) -> Sequence[float]:
        """The classifier's score of each continuation; all are classified in one call."""
        scores = [float(score) for score in self.classify([draft.text for draft in drafts])]
        return [1 - score for score in scores] if self.avoid else scores


@final
class FunctionJudge:
    """A Python function as a judge.

    Args:
        function: maps a prompt and a continuation to a number from 0 (bad) to 1 (good).
        name: its name in tables and records; default: the function's own name.

    Raises:
        InvalidSetting: the function does not take two texts.
    """

    def __init__(self, function: Callable[[str, str], float], name: str = ""):
        self._function = function
        self.name: str = name or str(getattr(function, "__name__", "function"))
        try:
            inspect.signature(function).bind("prompt", "continuation")
        except TypeError as error:
            raise InvalidSetting(
                f"got the judge {self.name!r}, expected a function of two texts, prompt and continuation: {error}"
            ) from error
        except ValueError:  # some built-in functions have no signature
            pass

    def score(self, drafts: Sequence[Draft], engine: Engine | None) -> Sequence[float]:
        """The function's value for each draft.

        Raises:
            InvalidData: a value is not a number from 0 to 1.
        """
        return checked(self.name, [self._function(draft.prompt, draft.text) for draft in drafts])
