"""The record of a benchmark: its figures are computed again here from the runs."""

from statistics import median

import pytest

from trimtab.benchmark.bench_settings import Setting
from trimtab.benchmark.plan import Case, LeftOut, Sizes
from trimtab.benchmark.record import record_of
from trimtab.benchmark.rows import ROWS
from trimtab.benchmark.run import Measured
from trimtab.benchmark.writers import Run

ROW = {row.key: row for row in ROWS}
SETTING = Setting(1, 20, 20)
TIMES = {
    "transformers": [(2.0, 8.0), (3.0, 12.0)],
    "plain": [(1.0, 4.0), (2.0, 8.0)],
    "arm": [(4.0, 12.0), (2.0, 16.0)],
}


@pytest.fixture
def record():
    """Return the record of three measured rows, one without a run, and one that was left out."""
    cases = [Case(ROW[key], SETTING, 5, 2) for key in (*TIMES, "own")]
    runs = {key: [Run(first, others, 5) for first, others in times] for key, times in TIMES.items()}
    parts = {(SETTING, "arm"): {"lm": 0.5, "reward": 0.25, "head": 0.05, "sampling": 0.1, "rest": 0.1}}
    left_out = [LeftOut(ROW["rad"], SETTING, "no room"), LeftOut(ROW["rad"], Setting(2, 20, 20), "elsewhere")]
    found = Measured({}, Sizes(1, 1, 1), cases, left_out, {SETTING: runs}, parts, {(SETTING, "arm"): 2**30})
    return record_of(found)


def test_the_figures_are_medians_of_the_runs_and_of_their_ratios(record):
    (table,) = record["tables"]
    rows = {row["row"]: row for row in table["rows"]}
    assert list(rows) == list(TIMES)
    for key, times in TIMES.items():
        assert rows[key]["first_token"] == median(first for first, _ in times)
        assert rows[key]["per_token"] == median(others / 4 for _, others in times)
        for other in ("plain", "transformers"):
            ratios = [mine[1] / theirs[1] for mine, theirs in zip(times, TIMES[other], strict=True)]
            found = rows[key][f"per_token_over_{other}"]
            assert (found["median"], found["low"], found["high"]) == (median(ratios), min(ratios), max(ratios))
    assert rows["arm"]["first_token_over_plain"]["median"] == median([4.0, 1.0])
    assert rows["arm"]["runs"] == [
        {"first_token": 4.0, "other_tokens": 12.0},
        {"first_token": 2.0, "other_tokens": 16.0},
    ]


def test_parts_and_memory_are_there_where_they_were_measured(record):
    rows = {row["row"]: row for row in record["tables"][0]["rows"]}
    assert rows["arm"]["peak_memory"] == 2**30
    assert rows["arm"]["parts"]["reward"] == 0.25
    assert rows["plain"]["peak_memory"] is rows["plain"]["parts"] is None


def test_what_is_left_out_is_in_its_table(record):
    assert record["tables"][0]["left_out"] == [{"row": "rad", "title": "RAD, block mask", "reason": "no room"}]


def test_the_goals_are_judged(record):
    verdicts = {goal["row"]: goal["verdict"] for goal in record["goals"]}
    assert verdicts["plain"] == "met"
    assert verdicts["ladder"] == verdicts["own"] == "not measured"
    assert verdicts["arm"] == "missed"  # 2.5 against a floor of 2 and 0.05
