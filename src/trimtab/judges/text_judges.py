"""Judges that read texts alone: a classifier, or any Python function."""

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from tokenize import TokenError
from typing import Any, final

import torch
from torch import nn
from transformers import Pipeline

from trimtab.checking import checked as check_arguments
from trimtab.checking import checked_except, shown
from trimtab.engines.base import Engine
from trimtab.errors import InvalidData, InvalidSetting
from trimtab.judges.base import DEFAULT_THRESHOLD, check_scores, one_for_each
from trimtab.judges.draft import Draft

Classify = Callable[[Sequence[str]], Sequence[float]]  # texts to scores, each from 0 to 1


@final
@check_arguments
@dataclass(frozen=True)
class TextJudge:
    """A classifier of continuations as a judge.

    Attributes:
        name: its name in tables and records.
        classify: maps some texts to scores from 0 to 1, such as the probability of a label. It may raise, and it may
            return NaN: evaluation counts such texts as failed.
        threshold: the lowest score that counts as high.
        avoid: what the classifier looks for is bad: the score is 1 − x.
        about: what the classifier is, for records: a hash of its weights, or the version of its library.
        bounded: the scores are from 0 to 1. Those of a regression model are on the scale of its labels.
    """

    name: str
    classify: Classify
    threshold: float = DEFAULT_THRESHOLD
    avoid: bool = False
    about: Mapping[str, str] = field(default_factory=dict)
    bounded: bool = True

    @classmethod
    def from_pipeline(cls, pipeline: Pipeline, label: str, avoid: bool = False) -> "TextJudge":
        """The score of one label of a transformers text-classification pipeline, as the pipeline gives it.

        That is the softmax over several labels, the sigmoid of the only label (or of one of several that do not exclude
        each other), or the plain output of a regression model. The sigmoid of a reward model's output r is the
        probability that its text is preferred to one of reward 0 (Bradley and Terry; 2203.02155, equation 1).

        Raises:
            InvalidSetting: the pipeline has no such label.
        """
        labels = [str(each) for each in pipeline.model.config.id2label.values()]
        if label not in labels:
            raise InvalidSetting(f"got the label {shown(label)}, expected one of {', '.join(labels)}")

        def classify(texts: Sequence[str]) -> list[float]:
            found = pipeline(list(texts), truncation=True, top_k=None)
            return [next(each["score"] for each in of_text if each["label"] == label) for of_text in found]

        bounded = pipeline.model.config.problem_type != "regression"
        return cls(label, classify, avoid=avoid, about={"label": label, **weights_of(pipeline)}, bounded=bounded)

    def describe(self) -> dict[str, str]:
        """What the classifier is, the threshold, and whether what it looks for is bad."""
        return {**self.about, "threshold": f"{self.threshold:g}", "avoid": str(self.avoid).lower()}

    def score(self, drafts: Sequence[Draft], engine: Engine | None) -> Sequence[float]:
        """The classifier's score of each continuation; all are classified in one call.

        Raises:
            InvalidData: there is not one number for each text.
        """
        found = one_for_each(self.name, self.classify([draft.text for draft in drafts]), len(drafts))
        scores = [_number(self.name, score) for score in found]
        return [1 - score for score in scores] if self.avoid else scores


@final
@checked_except("function")
class FunctionJudge:
    """A Python function as a judge.

    Args:
        function: maps a prompt and a continuation to a number from 0 (bad) to 1 (good).
        name: its name in tables and records; default: the function's own name.

    Raises:
        InvalidSetting: the function does not take two texts.
    """

    def __init__(self, function: Callable[[str, str], float], name: str = ""):
        if not callable(function):
            raise InvalidSetting(f"got the judge {shown(function)}, expected a function of two texts")
        self._function = function
        self.name: str = name or str(getattr(function, "__name__", "function"))
        try:
            inspect.signature(function).bind("prompt", "continuation")
        except TypeError as error:
            raise InvalidSetting(
                f"got the judge {shown(self.name)}, expected a function of two texts, prompt and continuation: {error}"
            ) from error
        except ValueError:  # some built-in functions have no signature
            pass

    def describe(self) -> dict[str, str]:
        """The place of the function, and a hash of its source code if that can be read."""
        place = f"{getattr(self._function, '__module__', '')}.{getattr(self._function, '__qualname__', self.name)}"
        try:
            source = inspect.getsource(self._function)
        except (OSError, TypeError, SyntaxError, TokenError):  # built in, or typed at a prompt
            return {"function": place}
        return {"function": place, "source_sha256": hashlib.sha256(source.encode()).hexdigest()[:16]}

    def score(self, drafts: Sequence[Draft], engine: Engine | None) -> Sequence[float]:
        """The function's value for each draft.

        Raises:
            InvalidData: a value is not a number from 0 to 1.
        """
        return check_scores(self.name, [self._function(draft.prompt, draft.text) for draft in drafts], len(drafts))


def _number(name: str, score: Any) -> float:
    """A classifier's score as a float. NaN stays: evaluation counts such texts as failed.

    Raises:
        InvalidData: it is no number.
    """
    try:
        return float("text" if isinstance(score, str | bytes) else score)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise InvalidData(f"got {shown(score)} from the judge {shown(name)}, expected a number from 0 to 1") from error


def weights_of(pipeline: Pipeline) -> dict[str, str]:
    """A hash of a pipeline's weights; nothing for a pipeline without a torch model."""
    model = pipeline.model
    if not isinstance(model, nn.Module):
        return {}
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return {"weights_sha256": digest.hexdigest()[:16]}
