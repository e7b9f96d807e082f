"""Which rows are measured, with how many tokens."""

import pytest
import torch
from transformers import DynamicCache

from trimtab.benchmark.bench_settings import FEWEST_TOKENS, Setting
from trimtab.benchmark.fresh_rewards import FreshRewards
from trimtab.benchmark.plan import Case, LeftOut, Limits, Sizes, operations, plan, sizes_of, unfit
from trimtab.benchmark.rows import ROWS
from trimtab.benchmark.writers import job_of, writer_of

ROW = {row.key: row for row in ROWS}
SIZES = Sizes(lm=1000, trunk=500, cache_bytes=10)
NO_LIMITS = Limits(1e30, 1e30, 1e30)
SETTING = Setting(batch=2, prompt_tokens=5, top_k=3)


def test_the_sizes_are_those_of_the_model(subject, shaped):
    sizes = sizes_of(subject)
    cache = DynamicCache()
    subject.base.model(input_ids=torch.tensor([[5]]), past_key_values=cache)
    per_layer = [layer.keys.nbytes + layer.values.nbytes for layer in cache.layers]
    assert sizes.cache_bytes == sum(per_layer[: subject.layers])
    assert sizes.lm == subject.weights_read
    assert (sizes.adapters, sizes_of(shaped).adapters) == (True, False)


@pytest.mark.parametrize("key", ["plain", "own", "arm", "rad", "rad-cached", "rad-encoded"])
def test_the_operations_are_those_of_the_tokens_that_are_read(subject, key):
    """The tokens are counted at the first layer of the model and of the trunk."""
    read = {"lm": 0, "trunk": 0}
    rewards = FreshRewards(subject)
    job = job_of(ROW[key], SETTING, rewards, seed=0)
    modules = {"lm": subject.lm.body}
    if ROW[key].reward:
        modules["trunk"] = rewards.model(ROW[key].reward).prefix_encoder.trunk
    hooks = [
        module.register_forward_pre_hook(
            lambda m, a, named, name=name: read.__setitem__(name, read[name] + named["input_ids"].numel()),
            with_kwargs=True,
        )
        for name, module in modules.items()
    ]
    writer_of(ROW[key], job)(4)
    for hook in hooks:
        hook.remove()
    counted = 2.0 * (read["lm"] * SIZES.lm + read["trunk"] * SIZES.trunk)
    assert operations(ROW[key], SETTING, 4, SIZES) == pytest.approx(counted, rel=0.35)  # BOS, and the last proposal


def test_without_limits_every_row_has_what_was_asked_for():
    planned = list(plan(ROWS, [SETTING], 24, 5, SIZES, NO_LIMITS))
    assert planned == [Case(row, SETTING, 24, 5) for row in ROWS]


def test_a_slow_row_writes_fewer_tokens_and_then_has_fewer_runs():
    row = ROW["rad-encoded"]
    limits = Limits(operations(row, SETTING, 10, SIZES), 1e30, 1e30)
    (case,) = plan([row], [SETTING], 24, 9, SIZES, limits)
    assert (case.tokens, case.repeats) == (10, 6)
    (fast,) = plan([ROW["plain"]], [SETTING], 24, 9, SIZES, limits)
    assert (fast.tokens, fast.repeats) == (24, 9)


def test_a_row_whose_shortest_run_is_large_is_measured_with_few_runs():
    row = ROW["rad-encoded"]
    least = operations(row, SETTING, FEWEST_TOKENS, SIZES)
    (case,) = plan([row], [SETTING], 24, 9, SIZES, Limits(least / 3, 1e30, 1e30))
    assert FEWEST_TOKENS <= case.tokens < 7
    assert case.repeats == 1


def test_what_takes_too_long_is_left_out_with_a_reason():
    row = ROW["rad-encoded"]
    least = operations(row, SETTING, FEWEST_TOKENS, SIZES)
    assert unfit(row, SETTING, SIZES, Limits(1.0, least, 0)) == ""
    (left_out,) = plan([row], [SETTING], 24, 5, SIZES, Limits(1.0, least - 1, 0))
    assert isinstance(left_out, LeftOut)
    assert "TFLOP" in left_out.reason


def test_other_rows_without_a_place_are_left_out():
    one = SETTING._replace(batch=1)
    assert "one steer" in unfit(ROW["own-steers"], one, SIZES, NO_LIMITS)
    assert not unfit(ROW["own-steers"], SETTING, SIZES, NO_LIMITS)
    for key in ("arm-merged", "arm-apart"):
        assert "adapters" in unfit(ROW[key], SETTING, SIZES._replace(adapters=False), NO_LIMITS)
        assert not unfit(ROW[key], SETTING, SIZES, NO_LIMITS)
    assert "no draft head" in unfit(ROW["draft"], SETTING, SIZES, NO_LIMITS)
    assert not unfit(ROW["draft"], SETTING, SIZES._replace(drafts=frozenset({"lookup", "draft"})), NO_LIMITS)
    assert not unfit(ROW["lookup"], SETTING, SIZES, NO_LIMITS)
    assert "1024" in unfit(ROW["rad"], SETTING._replace(top_k=1025), SIZES, NO_LIMITS)
    copies = 2 * 3 * (5 + FEWEST_TOKENS) * 10
    assert not unfit(ROW["rad-cached"], SETTING, SIZES, Limits(1e30, 1e30, copies))
    assert "6 caches" in unfit(ROW["rad-cached"], SETTING, SIZES, Limits(1e30, 1e30, copies - 1))
