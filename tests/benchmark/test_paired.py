"""Rows take turns, and their ratios are of one round."""

import pytest
import torch

from trimtab.benchmark.bench_settings import Setting
from trimtab.benchmark.paired import WARM_UP_TOKENS, ratio, time_in_turns
from trimtab.benchmark.plan import Case
from trimtab.benchmark.rows import ROWS
from trimtab.benchmark.writers import Run

ROW = {row.key: row for row in ROWS}
SETTING = Setting(1, 5, 6)


def cases(**repeats):
    return [Case(ROW[key], SETTING, 9, count) for key, count in repeats.items()]


def writers(asked, *keys):
    def writer(key):
        return lambda tokens: asked.append((key, tokens)) or Run(1.0, len(asked), tokens)

    return {key: writer(key) for key in keys}


def test_rows_take_turns_and_every_other_round_runs_backwards():
    asked, runs, done = [], {}, []
    found = time_in_turns(cases(plain=3, own=3, arm=2), writers(asked, "plain", "own", "arm"), runs, done.append)
    assert found == []
    warm_up, timed = asked[:3], [key for key, tokens in asked[3:]]
    assert warm_up == [("plain", WARM_UP_TOKENS), ("own", WARM_UP_TOKENS), ("arm", WARM_UP_TOKENS)]
    assert timed == ["plain", "own", "arm", "arm", "own", "plain", "plain", "own"]
    assert {key: len(of) for key, of in runs.items()} == {"plain": 3, "own": 3, "arm": 2}
    assert len(done) == len(asked)


def test_an_interrupted_table_keeps_its_runs():
    asked, runs = [], {}
    several = writers(asked, "plain")

    def interrupted(tokens):
        if tokens != WARM_UP_TOKENS:
            raise KeyboardInterrupt
        return Run(1.0, 1.0, tokens)

    with pytest.raises(KeyboardInterrupt):
        time_in_turns(cases(plain=2, own=2), {**several, "own": interrupted}, runs)
    assert len(runs["plain"]) == 1


def test_a_row_that_the_gpu_has_no_room_for_is_left_out():
    asked, runs = [], {}

    def too_large(tokens):
        raise torch.OutOfMemoryError("CUDA out of memory")

    found = time_in_turns(cases(plain=2, own=2), {**writers(asked, "plain"), "own": too_large}, runs)
    assert [case.row.key for case in found] == ["own"]
    assert list(runs) == ["plain"]


def test_a_ratio_is_the_median_of_the_ratios_of_a_round():
    """The machine is ten times slower in the second round; the ratio of medians would be 1.0 or 20."""
    plain = [Run(1.0, per_token * 4, 5) for per_token in (1.0, 10.0, 2.0)]
    steered = [Run(2.0, per_token * 4, 5) for per_token in (2.0, 20.0, 5.0)]
    found = ratio(steered, plain)
    assert (found.median, found.low, found.high, found.pairs) == (2.0, 2.0, 2.5, 3)
    assert ratio(steered, plain, lambda run: run.first).high == 2.0


def test_a_row_with_fewer_runs_is_compared_in_its_own_rounds():
    plain = [Run(1.0, 4.0, 5), Run(1.0, 400.0, 5)]
    assert ratio([Run(1.0, 12.0, 5)], plain) == (3.0, 3.0, 3.0, 1)
    assert ratio([], plain) is None
