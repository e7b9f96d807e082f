"""The record of a benchmark, ready for JSON."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from trimtab.benchmark.bench_settings import Setting
from trimtab.benchmark.goals import judge_goals
from trimtab.benchmark.paired import Ratio, ratio
from trimtab.benchmark.plan import Case
from trimtab.benchmark.rows import MADE_BY, PLAIN, TRANSFORMERS
from trimtab.benchmark.run import Measured
from trimtab.benchmark.writers import Run

Record = Mapping[str, Any]


def record_of(found: Measured) -> dict[str, Any]:
    """What a benchmark has measured: `about`, `tables` with `rows` and `left_out`, and `goals`. Times are in seconds.

    Rows without a timed run, as an interrupted benchmark has them, are left out.
    """
    batches = list(dict.fromkeys(setting.batch for setting in found.runs))
    return {
        "made_by": MADE_BY,
        "about": found.about,
        "interrupted": found.interrupted,
        "tables": [_table(found, setting) for setting in found.runs],
        "goals": [
            {**judged._asdict(), "goal": judged.goal.name, "row": judged.goal.row, "other": judged.goal.other}
            for judged in judge_goals(found.runs, found.sizes, batches)
        ],
    }


def _table(found: Measured, setting: Setting) -> dict[str, Any]:
    cases = [case for case in found.cases if case.setting == setting and found.runs[setting].get(case.row.key)]
    left_out = [each for each in found.left_out if each.setting == setting]
    return {
        **setting._asdict(),
        "rows": [_row(found, case) for case in cases],
        "left_out": [{"row": each.row.key, "title": each.row.title, "reason": each.reason} for each in left_out],
    }


def _row(found: Measured, case: Case) -> dict[str, Any]:
    of_table = found.runs[case.setting]
    runs = of_table[case.row.key]
    key = case.setting, case.row.key
    return {
        "row": case.row.key,
        "title": case.row.title,
        "tokens": case.tokens,
        "first_token": median(run.first for run in runs),
        "per_token": median(run.per_token for run in runs),
        **dict(_ratios(runs, of_table.get(PLAIN, ()), "plain")),
        **dict(_ratios(runs, of_table.get(TRANSFORMERS, ()), "transformers")),
        "peak_memory": found.memory.get(key),
        "parts": found.parts.get(key),
        "runs": [{"first_token": run.first, "other_tokens": run.others} for run in runs],
    }


def _ratios(runs: Sequence[Run], others: Sequence[Run], name: str) -> Iterator[tuple[str, dict[str, Any] | None]]:
    figures: dict[str, Callable[[Run], float]] = {
        "per_token": lambda run: run.per_token,
        "first_token": lambda run: run.first,
    }
    for figure, of in figures.items():
        yield f"{figure}_over_{name}", _as_dict(ratio(runs, others, of))


def _as_dict(found: Ratio | None) -> dict[str, Any] | None:
    return found._asdict() if found else None
