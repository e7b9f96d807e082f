"""Runs that take turns, and medians of their ratios: what slows the machine for a while slows both runs of a pair."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

import torch

from trimtab.benchmark.plan import Case
from trimtab.benchmark.writers import Run, Write

WARM_UP_TOKENS = 6  # on a GPU, steps are recorded by then

Runs = dict[str, list[Run]]  # by the key of the row; run i of every row is of round i


class Ratio(NamedTuple):
    """A ratio of paired runs.

    Attributes:
        median: the median of the pairs.
        low, high: the smallest and the largest pair.
        pairs: how many.
    """

    median: float
    low: float
    high: float
    pairs: int


def time_in_turns(
    cases: Sequence[Case],
    writers: Mapping[str, Write],
    runs: Runs,
    done: Callable[[Case], None] = lambda case: None,
) -> list[Case]:
    """Time the rows of one table in rounds. Every other round runs backwards, so that no row is always the later one.

    Args:
        cases: the rows.
        writers: what writes the texts of each row, by its key.
        runs: receives the runs of each row, one by one, so that an interrupted table keeps what it has.
        done: called after each run, warm-ups included.

    Returns:
        The rows that the memory of the GPU has no room for; they have no runs.
    """
    too_large = []
    for case in cases:
        try:
            writers[case.row.key](min(WARM_UP_TOKENS, case.tokens))
        except torch.OutOfMemoryError:
            too_large.append(case)
        done(case)
    timed = [case for case in cases if case not in too_large]
    for number in range(max((case.repeats for case in timed), default=0)):
        turn = [case for case in timed if number < case.repeats]
        for case in turn if number % 2 == 0 else reversed(turn):
            runs.setdefault(case.row.key, []).append(writers[case.row.key](case.tokens))
            done(case)
    return too_large


def ratio(
    runs: Sequence[Run], others: Sequence[Run], of: Callable[[Run], float] = lambda run: run.per_token
) -> Ratio | None:
    """The ratios of two rows, round by round; None if no round has both.

    Args:
        runs: the runs of a row.
        others: those of the row that it is compared with.
        of: the figure of a run; default: its time per token.
    """
    ratios = [of(run) / of(other) for run, other in zip(runs, others, strict=False)]
    return Ratio(median(ratios), min(ratios), max(ratios), len(ratios)) if ratios else None
