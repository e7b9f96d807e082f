"""Goals and their verdicts."""

import pytest

from trimtab.benchmark.bench_settings import Setting
from trimtab.benchmark.goals import GOALS, VLLM_GOALS, arm_floor, judge_goals
from trimtab.benchmark.plan import Sizes
from trimtab.benchmark.rows import KEYS, VLLM_ROWS
from trimtab.benchmark.writers import Run

LAYER = 4 * 576 + 2 * (576 * 576 + 576 * 192) + 3 * 576 * 1536 - 2 * 576  # of SmolLM2-135M: attention, MLP, two norms
HEAD = 49152 * 576
SMOLLM2 = Sizes(lm=30 * LAYER + 576 + HEAD, trunk=20 * LAYER, cache_bytes=1)


def runs(*per_token):
    return [Run(1.0, 4 * seconds, 5) for seconds in per_token]


def judged(tables, batches=(1, 8, 32)):
    return {(each.goal.row, each.batch): each for each in judge_goals(tables, SMOLLM2, batches)}


def test_the_floor_of_arm_with_20_of_30_layers_of_smollm2():
    assert SMOLLM2.lm == 134_515_008  # the parameters of SmolLM2-135M, whose embedding is its head
    assert arm_floor(SMOLLM2) == pytest.approx(1.526, abs=0.001)


def test_a_goal_is_met_by_the_median_of_the_pairs():
    tables = {Setting(8, 20, 20): {"plain": runs(1, 1, 1), "own": runs(1.01, 1.02, 1.5), "arm": runs(1.6, 1.6, 1.6)}}
    own, arm = judged(tables)["own", 8], judged(tables)["arm", 8]
    assert (own.verdict, own.limit, own.measured, own.low, own.high) == ("met", 1.02, 1.02, 1.01, 1.5)
    assert (arm.verdict, arm.pairs) == ("missed", 3)
    assert arm.limit == pytest.approx(1.576, abs=0.001)


def test_what_was_not_measured_has_no_verdict():
    found = judged({Setting(1, 20, 20): {"plain": runs(1)}}, batches=[1])
    assert {each.verdict for each in found.values()} == {"not measured"}
    assert {row for row, _ in found} == {goal.row for goal in GOALS}
    assert found["own", 1].measured is None


def test_the_first_table_of_a_batch_is_judged():
    short, long = {"plain": runs(1), "own": runs(1)}, {"plain": runs(1), "own": runs(2)}
    tables = {Setting(1, 20, 20): short, Setting(1, 512, 20): long, Setting(1, 20, 80): long}
    assert judged(tables)["own", 1].verdict == "met"


def test_rows_with_steers_of_their_own_are_compared_with_one_steer():
    tables = {Setting(32, 20, 20): {"plain": runs(1), "own": runs(2), "own-steers": runs(2.2)}}
    found = judged(tables)["own-steers", 32]
    assert (found.measured, found.verdict) == (1.1, "missed")


def test_goals_compare_rows_of_the_table():
    """All but one: the row of the ladder joins the table with the trunk."""
    assert {name for goal in GOALS for name in (goal.row, goal.other)} - set(KEYS) <= {"ladder"}


def test_vllm_has_goals_of_its_own_where_it_was_measured():
    table = {"plain": runs(1), "own": runs(1), "vllm": runs(0.5), "vllm-own": runs(0.51), "vllm-arm": runs(0.82)}
    found = judged({Setting(32, 20, 20): table})
    verdicts = {goal.row: found[goal.row, 32].verdict for goal in VLLM_GOALS[:3]}
    assert verdicts == {"vllm-own": "met", "vllm-ladder": "not measured", "vllm-arm": "missed"}
    assert found["vllm-arm", 32].limit == pytest.approx(1.626, abs=0.001)
    assert {name for goal in VLLM_GOALS for name in (goal.row, goal.other)} <= {*KEYS, *(row.key for row in VLLM_ROWS)}
