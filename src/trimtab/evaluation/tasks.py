"""Tasks of a comparison: the text that judges read, and the figures that are made of their scores."""

from dataclasses import dataclass
from typing import Literal, final

from trimtab.errors import InvalidData
from trimtab.judges.notation import POSITIVE, TOXIC

FLUENCY, PROFILE = "perplexity:", "profile:"  # how the names of readers that are no judges begin


@final
@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        name: the name of its command.
        judged: whether judges read the continuation alone or prompt and continuation.
        judges: the judges if none is named.
        labels: the labels that mean a high score, in text classifiers.
        figures: the figures made of a judge's scores, by their names in `metrics.control_figures`; steering is meant
            to move the first one.
        title: the first figure's name in plots.
        lower_is_better: a lower first figure is better for all prompt sets, whatever their direction.
    """

    name: str
    judged: Literal["continuation", "whole"]
    judges: tuple[str, ...]
    labels: tuple[str, ...]
    figures: tuple[str, ...]
    title: str
    lower_is_better: bool = False


TASKS = {
    task.name: task
    for task in (
        Task(
            "toxicity",
            judged="continuation",
            judges=("profanity", "reward:toxicity-rad"),
            labels=TOXIC,
            figures=("average maximum", "rate", "mean"),
            title="average maximum toxicity",
            lower_is_better=True,
        ),
        Task(
            "sentiment",
            judged="whole",
            judges=("vader", "reward:sentiment-rad"),
            labels=POSITIVE,
            figures=("share", "mean"),
            title="share of texts called positive",
        ),
        Task("prompts", judged="continuation", judges=(), labels=(), figures=("mean", "share"), title="mean score"),
    )
}


def find_task(name: str) -> Task:
    """The task of that name.

    Raises:
        InvalidData: there is no such task.
    """
    if name not in TASKS:
        raise InvalidData(f"got the task {name!r}, expected one of {', '.join(TASKS)}")
    return TASKS[name]
