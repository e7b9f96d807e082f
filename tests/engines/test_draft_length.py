"""Drafts are as long as pays."""

from math import isclose

import pytest
import torch

from tiny import tiny_lm
from trimtab.engines.draft_length import (
    BATCH_GAIN,
    BFLOAT16_COST,
    FLOAT32_COST,
    MOST_DRAFTED,
    OTHER_COST,
    PLAIN_COST,
    TILED_COST,
    Acceptance,
    Balance,
    CheckCost,
    check_cost,
    draft_length,
)
from trimtab.models.packed_weights import can_pack
from trimtab.models.quicken import quicken

MEASURED = [PLAIN_COST, FLOAT32_COST, BFLOAT16_COST, TILED_COST, OTHER_COST]


def speed(rates, longest, cost, length):
    """Return tokens per unit of time of drafts of a length, each probability multiplied out."""
    tokens = sum(
        1 + sum(rate**place for place in range(1, min(length, most) + 1))
        for rate, most in zip(rates, longest, strict=True)
    )
    several = cost.call if len(rates) > 1 or length else 0
    moving = cost.uneven if len(rates) > 1 and length else 0
    return tokens / (1 + several + cost.token * len(rates) * (1 + length) + cost.draft * length + moving)


@pytest.mark.parametrize("cost", [CheckCost(0.1, 0.002), CheckCost(0.5, 0.05, 0.1), CheckCost(0, 0.2)])
@pytest.mark.parametrize("rates", [[0.9], [0.1], [0.5, 0.5, 0.9], [0.02, 0.9] * 8])
def test_no_other_length_writes_more_per_time(rates, cost):
    longest = [20 - row for row in range(len(rates))]
    speeds = [speed(rates, longest, cost, length) for length in range(MOST_DRAFTED + 1)]
    speeds[0] *= BATCH_GAIN if len(rates) > 1 else 1
    assert isclose(speeds[draft_length(rates, longest, cost)], max(speeds))


def test_drafts_that_are_never_right_are_not_made():
    assert draft_length([0.0, 0.0], [9, 9], CheckCost(0, 0.002)) == 0
    assert draft_length([1.0], [0], CheckCost(0, 0.002)) == 0
    assert draft_length([1.0], [5], CheckCost(0, 0.002)) == 5


def test_acceptance_is_the_share_of_late():
    seen = Acceptance()
    assert seen.rate == 0.5
    for _ in range(200):
        seen.see(4, 4)
    assert seen.rate > 0.99
    for _ in range(200):
        seen.see(4, 0)
    assert seen.rate < 0.05
    for _ in range(500):
        seen.see(0, 0)
    assert isclose(seen.rate, 0.5, abs_tol=1e-3)


def lost_share(cost, rows, calls, drafted, right=0):
    """Return the time of a text whose drafts are never right, over token by token."""
    balance, seen, spent = Balance(), Acceptance(), 0.0
    for _ in range(calls):
        length = draft_length([seen.rate] * rows, [drafted] * rows, cost)
        length = length if balance.affords(cost.lost(rows, length)) else 0
        spent += cost.of(rows, length) / cost.of(rows, 0)
        seen.see(length, right)
        balance.see(1 + right, cost.of(rows, length) / cost.of(rows, 0))
    return spent / calls


@pytest.mark.parametrize(
    "cost", [PLAIN_COST, FLOAT32_COST, BFLOAT16_COST, TILED_COST, OTHER_COST, CheckCost(0.1, 0.01, 0.2)]
)
@pytest.mark.parametrize("rows", [1, 8])
def test_drafts_that_fail_cost_one_part_in_twenty(cost, rows):
    assert lost_share(cost, rows, calls=40, drafted=MOST_DRAFTED) <= 1.05
    assert 1 <= lost_share(cost, rows, calls=2000, drafted=MOST_DRAFTED) <= 1.035


def test_what_was_saved_is_spent_on_few_failures():
    balance = Balance()
    assert balance.affords(0.6)
    assert not balance.affords(0.8)
    for _ in range(100):
        balance.see(written=4.0, cost=1.5)
    assert balance.affords(3.0)
    assert not balance.affords(3.1)
    balance.see(written=1.0, cost=3.0)
    assert not balance.affords(1.1)


def test_a_token_costs_less_where_matrix_tiles_multiply_it(monkeypatch):
    model = tiny_lm("llama").model
    plain = check_cost(model, 0.25)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: True)
    assert check_cost(model, 0.25) == plain
    tiled = check_cost(model.bfloat16(), 0.25)
    assert (plain.draft, tiled.draft) == (0.25, 0.25)
    assert tiled.token < plain.token
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False)
    assert check_cost(model, 0.25) == plain


@pytest.mark.skipif(not can_pack(torch.ones(2, 2)), reason="oneDNN's packed products are not in torch")
def test_packed_copies_make_a_check_cheaper(monkeypatch):
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False)
    monkeypatch.setattr("trimtab.models.quick_linear.products_are_slow", lambda: True)
    model = tiny_lm("llama").model
    assert check_cost(model) == PLAIN_COST
    assert check_cost(quicken(model)) == FLOAT32_COST
    assert check_cost(model.bfloat16()) in (BFLOAT16_COST, PLAIN_COST)
    for part in model.modules():
        part.packs = False
    assert check_cost(model) == PLAIN_COST
