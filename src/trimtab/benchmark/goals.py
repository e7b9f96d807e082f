"""The goals of a benchmark, and whether they are met."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from trimtab.benchmark.bench_settings import Setting
from trimtab.benchmark.paired import Runs, ratio
from trimtab.benchmark.plan import Sizes

ARM_MARGIN = 0.05
Verdict = Literal["met", "missed", "not measured"]


class Goal(NamedTuple):
    """A row whose time per token may be at most `limit` times that of another row.

    Attributes:
        name: the goal in words.
        row, other: the keys of both rows.
        limit: None for the floor of ARM and the margin.
        batches: the batches that it is about.
        margin: what ARM may take above its floor.
    """

    name: str
    row: str
    other: str
    limit: float | None
    batches: tuple[int, ...] = (1, 8, 32)
    margin: float = ARM_MARGIN


GOALS = (
    Goal("plain is as fast as generate", "plain", "transformers", 1.05),
    Goal("own state is free", "own", "plain", 1.02),
    Goal("ladder is nearly free", "ladder", "plain", 1.08),
    Goal("ARM is near its floor", "arm", "plain", None),
    Goal("32 steers cost as one: own state", "own-steers", "own", 1.05, (32,)),
    Goal("32 steers cost as one: ARM", "arm-steers", "arm", 1.05, (32,)),
)


VLLM_GOALS = (
    Goal("vLLM: own state is free", "vllm-own", "vllm", 1.03, (1, 8, 32, 128)),
    Goal("vLLM: ladder is nearly free", "vllm-ladder", "vllm", 1.10, (1, 8, 32, 128)),
    Goal("vLLM: ARM is near its floor", "vllm-arm", "vllm", None, (32,), margin=0.10),
    Goal("vLLM: steered, it is faster than the loop", "vllm-own", "own", 1 / 1.5, (32,)),
)  # of --engine vllm


class Judged(NamedTuple):
    """A goal in one batch.

    Attributes:
        goal: the goal.
        batch: texts written together.
        limit: the largest ratio that meets it.
        measured, low, high, pairs: the median of the paired ratios, their range and number; None if not measured.
        verdict: of the median.
    """

    goal: Goal
    batch: int
    limit: float
    measured: float | None
    low: float | None
    high: float | None
    pairs: int
    verdict: Verdict


def arm_floor(sizes: Sizes) -> float:
    """The least time of a steered token over an unsteered one, if time is the reading of weights.

    A trunk of m of L layers reads m / L of the body's weights once more: 1 + m / L · body / (body + head).
    """
    return 1 + sizes.trunk / sizes.lm


def judge_goals(tables: Mapping[Setting, Runs], sizes: Sizes, batches: Sequence[int]) -> Iterator[Judged]:
    """Judge each goal at its batches, in the first table of each batch: the shortest prompts and the smallest k.

    Args:
        tables: the runs of every table, in order.
        sizes: give the floor of ARM.
        batches: the batches that were asked for.
    """
    first: dict[int, Runs] = {}
    for setting, runs in tables.items():
        first.setdefault(setting.batch, runs)
    of_vllm = VLLM_GOALS if any("vllm" in runs for runs in tables.values()) else ()
    for goal in GOALS + of_vllm:
        limit = arm_floor(sizes) + goal.margin if goal.limit is None else goal.limit
        for batch in [batch for batch in goal.batches if batch in batches] or goal.batches[-1:]:
            yield judge(goal, batch, limit, first.get(batch, {}))


def judge(goal: Goal, batch: int, limit: float, runs: Runs) -> Judged:
    """Judge a goal in one table."""
    found = ratio(runs.get(goal.row, ()), runs.get(goal.other, ()))
    if found is None:
        return Judged(goal, batch, limit, None, None, None, 0, "not measured")
    return Judged(goal, batch, limit, *found, "met" if found.median <= limit else "missed")
