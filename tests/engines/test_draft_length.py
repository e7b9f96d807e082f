"""Drafts are as long as pays."""

from math import isclose

import pytest
import torch

from tiny import tiny_lm
from trimtab.engines.draft import EXPECTED, TEXT, Draft
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
    draft_size,
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
    seen, chain = Acceptance(), Draft.chain([5, 6, 7, 8])
    assert (seen.rate, seen.trust, seen.breadth) == (0.5, 1.0, 1.0)
    for _ in range(200):
        seen.see(chain, [0, 1, 2, 3])
    assert seen.rate > 0.99
    assert isclose(seen.trust, 2.0, rel_tol=0.02)
    for _ in range(200):
        seen.see(chain, [])
    assert seen.rate < 0.05
    assert seen.trust < 0.1
    assert isclose(seen.breadth, 1.0)
    for _ in range(500):
        seen.see(Draft(), [])
    assert isclose(seen.rate, 0.5, abs_tol=1e-3)
    assert isclose(seen.trust, 1.0, abs_tol=1e-3)


def test_a_place_of_a_tree_counts_once():
    """Two tokens for the first place, of which the second was right; two behind it, of which none was."""
    seen = Acceptance()
    seen.see(Draft([5, 6, 7, 8, 9], [TEXT, TEXT, 1, 1, 0], [0.5, 0.2, 0.4, 0.1, 0.9]), [1])
    assert isclose(seen.rate, (EXPECTED + 1) / (1 + 2))
    assert isclose(seen.trust, (1 + 1) / (1 + 0.5 + 0.2 + 0.4 + 0.1))
    assert isclose(seen.breadth, (1 + 5) / (1 + 2))


def test_a_draft_that_cost_something_and_was_not_worth_a_check_is_a_miss():
    free, costly = Acceptance(), Acceptance()
    free.see(Draft(), [])
    costly.see(Draft(), [], missed=True)
    assert (free.rate, costly.rate) == (EXPECTED, EXPECTED / 2)
    assert costly.trust == 1


def test_bushy_drafts_are_less_deep_where_a_check_of_many_tokens_is_dear():
    cost = CheckCost(0.1, 0.05)
    assert draft_length([0.7], [16], cost, 3.0) < draft_length([0.7], [16], cost, 1.0)


@pytest.mark.parametrize("cost", [CheckCost(0.1, 0.002), CheckCost(0.5, 0.05, 0.1), CheckCost(0, 0.2)])
@pytest.mark.parametrize("worths", [[[0.9, 0.5, 0.4, 0.1]], [[0.1]], [[0.9, 0.8], [0.6, 0.1, 0.1], []]])
@pytest.mark.parametrize("most", [2, 16])
def test_no_other_size_writes_more_per_time(worths, cost, most):
    def written_per_time(count):
        tokens = len(worths) + sum(sum(row[:count]) for row in worths)
        return tokens / cost.of(len(worths), count, deep=2)

    speeds = [written_per_time(count) for count in range(min(most, max(map(len, worths))) + 1)]
    speeds[0] *= BATCH_GAIN if len(worths) > 1 else 1
    assert isclose(speeds[draft_size(worths, cost, 2, most)], max(speeds))


def test_a_check_of_a_tree_costs_its_tokens_and_as_many_drafts_as_it_is_deep():
    cost = CheckCost(0.1, 0.01, 0.05)
    assert isclose(cost.of(1, 8, deep=3), 1 + 0.1 + 0.09 + 0.15)
    assert isclose(cost.of(1, 0, deep=3), 1 + 0.01 + 0.15)
    assert cost.of(1, 3) == cost.of(1, 3, deep=3)


def test_no_more_is_tried_than_is_affordable():
    cost, balance = CheckCost(0.0, 0.1), Balance()
    most = balance.most(cost, 1, 1)
    assert balance.affords(cost.lost(1, most, 1))
    assert not balance.affords(cost.lost(1, most + 1, 1))
    for _ in range(100):
        balance.see(written=4.0, cost=1.5)
    assert balance.most(cost, 1, 1) == MOST_DRAFTED


def lost_share(cost, rows, calls, drafted, right=0):
    """Return the time of a text whose drafts are never right, over token by token."""
    balance, seen, spent = Balance(), Acceptance(), 0.0
    for _ in range(calls):
        length = draft_length([seen.rate] * rows, [drafted] * rows, cost)
        length = length if balance.affords(cost.lost(rows, length)) else 0
        spent += cost.of(rows, length) / cost.of(rows, 0)
        seen.see(Draft.chain([0] * length), range(right))
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
