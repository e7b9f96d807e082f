"""Figures as text."""

import pytest

from trimtab.benchmark.tables import (
    columns,
    goal_cells,
    load_text,
    machine_lines,
    memory_text,
    milliseconds,
    ratio_text,
    row_title,
    share_text,
)

RATIO = {"median": 1.5, "low": 1.25, "high": 2.0, "pairs": 3}
ROW = {
    "title": "ARM",
    "tokens": 24,
    "runs": [{}] * 5,
    "first_token": 0.1234,
    "per_token": 0.05,
    "per_token_over_plain": RATIO,
    "per_token_over_transformers": None,
    "peak_memory": None,
    "parts": {"lm": 0.03, "reward": 0.01, "head": 0.0, "sampling": 0.005, "rest": 0.005},
}
ABOUT = {
    "model": "smollm2",
    "random_weights": False,
    "base_fingerprint": "abc",
    "dtype": "float32",
    "layers": 20,
    "device": "cpu",
    "processor": "EPYC",
    "threads": 2,
    "cores": 2,
    "load_average": [3.25, None],
    "system": "Linux",
    "trimtab": "1",
    "torch": "2",
    "transformers": "3",
    "tokens": 24,
    "repeats": 5,
    "seed": 0,
    "clock": "wall time",
    "quick": False,
}


def record_with(**changes):
    return {"about": ABOUT, "interrupted": False, "tables": [{"rows": [{**ROW, **changes}]}]}


def test_times_have_three_digits():
    assert [milliseconds(each) for each in (0.0012345, 0.0501, 0.1234, 12.3456)] == [
        "1.23 ms",
        "50.1 ms",
        "123 ms",
        "12346 ms",
    ]


def test_a_ratio_shows_its_range_if_there_is_one():
    assert ratio_text(RATIO) == "1.50× (1.25–2.00)"
    assert ratio_text({**RATIO, "low": 1.5, "high": 1.5}) == "1.50×"
    assert ratio_text(None) == "–"


def test_a_part_is_a_share_of_the_step():
    assert [share_text(ROW["parts"], part) for part in ("lm", "reward", "head")] == ["60%", "20%", "–"]
    assert share_text(None, "lm") == "–"


def test_memory_is_in_gib():
    assert memory_text(3 * 2**29) == "1.50 GiB"
    assert memory_text(None) == "–"


def test_columns_that_hold_nothing_are_left_out():
    titles = [title for title, _ in columns(record_with())]
    assert titles == ["first token", "per token", "over plain", "LM", "reward", "head", "sampling", "rest"]
    more = [title for title, _ in columns(record_with(peak_memory=5, per_token_over_transformers=RATIO))]
    assert more[2:5] == ["over plain", "over transformers", "memory"]


def test_a_row_with_fewer_tokens_or_runs_says_so():
    assert row_title(ROW, record_with()) == "ARM"
    assert row_title({**ROW, "tokens": 6, "runs": [{}]}, record_with()) == "ARM (6 tokens, 1 run)"
    assert row_title({**ROW, "runs": [{}] * 2}, record_with()) == "ARM (2 runs)"


def test_the_machine_is_named():
    lines = " ".join(machine_lines(record_with()))
    for words in (
        "smollm2",
        "weights abc",
        "EPYC, 2 threads of 2",
        "load average 3.2;",
        "torch 2",
        "wall time",
        "seed 0",
    ):
        assert words in lines
    assert "Interrupted" not in lines
    assert "Interrupted" in " ".join(machine_lines({**record_with(), "interrupted": True}))
    assert load_text({}) == ""


@pytest.mark.parametrize(("measured", "shown"), [(1.5, "1.50× (1.25–2.00)"), (None, "–")])
def test_a_goal_shows_what_was_compared(measured, shown):
    goal = {**RATIO, "goal": "fast", "batch": 8, "row": "own", "other": "plain", "limit": 1.02, "measured": measured}
    assert goal_cells({**goal, "verdict": "missed"}) == ("fast", "8", "own / plain", "1.02×", shown, "missed")
