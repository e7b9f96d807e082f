"""Tasks: what a comparison is about; what its judges read, and which figure is its control."""

from dataclasses import dataclass
from typing import Literal, final

from trimtab.errors import InvalidData


@final
@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        name: of the command.
        judged: whether judges read the continuation alone or with its prompt.
        judges: who judges if nobody else is named.
        labels: what text classifiers call a high score.
        figures: what is made of a judge's scores, of `metrics.control_figures`; the first is what steering is to move.
        title: what a plot calls that figure.
        fewer: less of it is better, whichever way a prompt set is pushed.
    """

    name: str
    judged: Literal["continuation", "whole"]
    judges: tuple[str, ...]
    labels: tuple[str, ...]
    figures: tuple[str, ...]
    title: str
    fewer: bool = False


TASKS = {
    task.name: task
    for task in (
        Task(
            "toxicity",
            judged="continuation",
            judges=("profanity", "reward:toxicity-rad"),
            labels=("toxic", "toxicity", "hate", "offensive"),
            figures=("average maximum", "rate", "mean"),
            title="average maximum toxicity",
            fewer=True,
        ),
        Task(
            "sentiment",
            judged="whole",
            judges=("vader", "reward:sentiment-rad"),
            labels=("positive", "pos"),
            figures=("share", "mean"),
            title="share of texts called positive",
        ),
        Task("prompts", judged="continuation", judges=(), labels=(), figures=("mean", "share"), title="mean score"),
    )
}


def find_task(name: str) -> Task:
    """The task of a comparison.

    Raises:
        InvalidData: there is none of that name.
    """
    if name not in TASKS:
        raise InvalidData(f"got a comparison of {name!r}, expected one of {', '.join(TASKS)}")
    return TASKS[name]
