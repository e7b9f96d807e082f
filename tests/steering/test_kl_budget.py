"""The budget of steering, against a bisection in plain floats."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.steering.kl_budget import LEAST_KL, NARROW, budget_scale, kl_to_base

EXAMPLES = settings(max_examples=150, deadline=None, derandomize=True)
numbers = st.floats(-12, 12, width=32)


@st.composite
def rows(draw):
    """Logits of some candidates, what the steers add to them, and a budget."""
    size = draw(st.integers(2, 9))
    logits = [draw(st.one_of(numbers, st.just(-math.inf))) for _ in range(size - 1)] + [draw(numbers)]
    strength = draw(st.sampled_from([0.1, 3.0, 100.0]))
    added = [strength * draw(numbers) for _ in range(size)]
    return logits, added, draw(st.floats(1e-6, 20))


def kl_by_hand(logits, added, scale):
    """Return KL(softmax(z + sΔ) ‖ softmax(z)) in plain floats."""
    inside = [(z, d) for z, d in zip(logits, added, strict=True) if z > -math.inf]

    def normalised(values):
        most = max(values)
        mass = math.log(math.fsum(math.exp(value - most) for value in values)) + most
        return [value - mass for value in values]

    base, steered = normalised([z for z, _ in inside]), normalised([z + scale * d for z, d in inside])
    return math.fsum(math.exp(s) * (s - b) for s, b in zip(steered, base, strict=True))


def scale_by_hand(logits, added, max_kl):
    """Return the largest scale by 60 bisections."""
    if kl_by_hand(logits, added, 1.0) <= max_kl:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if kl_by_hand(logits, added, middle) <= max_kl else (low, middle)
    return low


def scale_of(logits, added, max_kl):
    found = budget_scale(torch.tensor([logits]), torch.tensor([added]), torch.tensor([max_kl], dtype=torch.float64))
    assert found.dtype == torch.float32
    return found.item()


@EXAMPLES
@given(rows())
def test_the_scale_is_the_largest_within_the_budget(row):
    logits, added, max_kl = row
    added = torch.tensor(added).tolist()  # as float32 holds them
    found = scale_of(logits, added, max_kl)
    assert 0 <= found <= 1
    assert found == pytest.approx(scale_by_hand(logits, added, max_kl), abs=1e-4)
    assert kl_by_hand(logits, added, found) <= max_kl * (1 + 1e-6)


@EXAMPLES
@given(rows(), st.floats(0, 20))
def test_the_scale_rises_with_the_budget(row, other):
    logits, added, max_kl = row
    low, high = sorted([max_kl, other])
    assert scale_of(logits, added, low) <= scale_of(logits, added, high)


@EXAMPLES
@given(rows())
def test_no_budget_leaves_every_bit_and_a_budget_of_0_leaves_nothing(row):
    logits, added, _ = row
    assert scale_of(logits, added, math.inf) == scale_of(logits, added, 1e9) == 1.0
    assert scale_of(logits, added, 0.0) == scale_of(logits, added, LEAST_KL / 2) == 0.0


@EXAMPLES
@given(st.lists(rows(), min_size=2, max_size=4))
def test_a_row_has_the_scale_that_it_has_alone(batch):
    """Narrower rows are filled up with −inf, as the candidates of a batch are."""
    width = max(len(logits) for logits, _, _ in batch)
    logits = torch.tensor([each + [-math.inf] * (width - len(each)) for each, _, _ in batch])
    added = torch.tensor([each + [5.0] * (width - len(each)) for _, each, _ in batch])
    budgets = torch.tensor([each for _, _, each in batch], dtype=torch.float64)
    together = budget_scale(logits, added, budgets).tolist()
    assert together == pytest.approx([scale_of(*each) for each in batch], abs=1e-5)


@pytest.mark.parametrize("strength", [1.0, 1e3, 1e6])
def test_a_wide_row_is_as_exact_as_a_narrow_one_at_any_strength(strength):
    """Relative to the scale, which is tiny where β is large."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4 * NARROW, generator=generator) * 3
    added = strength * torch.rand(2, 4 * NARROW, generator=generator)
    wide = budget_scale(logits, added, torch.tensor([0.01, 0.3], dtype=torch.float64))
    for row, max_kl in enumerate((0.01, 0.3)):
        expected = scale_by_hand(logits[row].tolist(), added[row].tolist(), max_kl)
        assert wide[row].item() == pytest.approx(expected, rel=1e-4)
        padded = logits[row, :NARROW], added[row, :NARROW]
        narrow = budget_scale(padded[0][None], padded[1][None], torch.tensor([max_kl], dtype=torch.float64)).item()
        assert narrow == pytest.approx(scale_by_hand(*(each.tolist() for each in padded), max_kl), rel=1e-4)


def test_a_rare_token_that_a_steer_makes_certain_is_found():
    """KL(s) is nearly 0, then jumps: the derivative of a Newton step would be useless."""
    logits, added = [0.0, -18.0], [0.0, 40.0]
    assert scale_of(logits, added, 1.0) == pytest.approx(scale_by_hand(logits, added, 1.0), abs=1e-6)


@EXAMPLES
@given(rows(), st.floats(0, 1))
def test_the_kl_of_a_step_equals_a_sum_in_plain_floats(row, scale):
    logits, added, _ = row
    steered = torch.tensor([logits]) + scale * torch.tensor([added])
    expected = kl_by_hand(
        logits, [z - b if b > -math.inf else 0 for z, b in zip(steered[0].tolist(), logits, strict=True)], 1.0
    )
    assert kl_to_base(steered, torch.tensor([logits])).item() == pytest.approx(expected, abs=1e-4, rel=1e-5)
