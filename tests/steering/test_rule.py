"""The pure functions of the rule, against float64 and plain Python. A whole step is tested with the guide."""

import math

import pytest
import torch

from trimtab.steering.rule import Candidates, entropy_of, guidance, row_terms, scatter_candidates, top_candidates
from trimtab.steering.steer import Term
from trimtab.testing import WordCodec, WordReward

CPU = torch.device("cpu")
REWARD = WordReward(WordCodec(["a"]), {})
REWARD.attributes = ("first", "second", "third")


def term(attribute=0, beta=1.0, away=False, clamp=(0.0, 1.0), min_entropy=0.0):
    return Term(REWARD, attribute, beta, away, clamp, min_entropy)


def added_by_hand(rewards, terms, entropy):
    """Return Σ β · g(r) of one candidate, in plain floats."""
    total = 0.0
    for each in terms:
        r = rewards[each.attribute]
        low, high = each.clamp or (-math.inf, math.inf)
        g = min(max(r, low), high)
        if each.away:
            g = (high + low if each.clamp else 0.0) - g
        total += each.beta * g if entropy >= each.min_entropy else 0.0
    return total


def test_guidance_equals_a_sum_in_plain_floats():
    rewards = torch.randn(4, 6, 2, generator=torch.Generator().manual_seed(0)) * 2
    terms = [
        [],
        [term(0, 7.0)],
        [term(1, 3.0, away=True, clamp=(-0.5, 0.5)), term(0, -2.0, clamp=None)],
        [term(1, 4.0, away=True, clamp=None), term(1, 1.0, min_entropy=1.5), term(0, 2.0, min_entropy=0.5)],
    ]
    entropy = torch.tensor([1.0, 1.0, 1.0, 1.0])
    found = guidance(rewards, row_terms(terms, CPU), entropy)
    for row, of_row in enumerate(terms):
        for column in range(6):
            expected = added_by_hand(rewards[row, column].tolist(), of_row, 1.0)
            assert found[row, column].item() == pytest.approx(expected, abs=1e-5)


def test_joined_and_selected_terms_add_the_same_as_terms_built_together():
    rewards = torch.rand(3, 5, 2, generator=torch.Generator().manual_seed(1))
    first, second = [[term(0, 3.0)]], [[term(1, 2.0), term(0, 1.0, away=True)], []]
    together = guidance(rewards, row_terms([*first, *second], CPU), torch.ones(3))
    for one, other in ((first, second), ([*first, second[0]], [second[1]])):
        joined = row_terms(one, CPU).join(row_terms(other, CPU))
        assert torch.equal(guidance(rewards, joined, torch.ones(3)), together)
    reordered = row_terms([*first, *second], CPU).select(torch.tensor([2, 0, 1]))
    assert torch.equal(guidance(rewards[[2, 0, 1]], reordered, torch.ones(3)), together[[2, 0, 1]])


@pytest.mark.parametrize(("top_p", "kept"), [(0.4, 1), (0.5, 1), (0.6, 2), (0.8, 2), (0.81, 3), (1.0, 4)])
def test_top_p_keeps_the_fewest_candidates_that_hold_it(top_p, kept):
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    assert int(top_candidates(logits, None, top_p).logits.isfinite().sum()) == kept


def test_top_p_may_differ_by_row():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]] * 3).log()
    found = top_candidates(logits, None, torch.tensor([0.4, 0.81, 2.0]))
    assert found.logits.isfinite().sum(1).tolist() == [1, 3, 4]


def test_top_p_renormalises_over_the_top_k():
    """Of 0.5, 0.3, 0.15, the first two hold 0.84 of the top three."""
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    assert int(top_candidates(logits, 3, 0.84).logits.isfinite().sum()) == 2
    assert int(top_candidates(logits, None, 0.84).logits.isfinite().sum()) == 3


def test_top_k_may_differ_by_row():
    logits = torch.tensor([[1.0, 4.0, 3.0, 2.0]] * 2)
    found = top_candidates(logits, 3, None, torch.tensor([2, 3]))
    assert found.ids.tolist() == [[1, 2, 3]] * 2
    assert found.logits.tolist() == [[4.0, 3.0, -math.inf], [4.0, 3.0, 2.0]]


def test_without_limits_every_token_is_a_candidate_in_order():
    logits = torch.randn(2, 5)
    found = top_candidates(logits, None, None)
    assert found.whole
    assert found.ids.tolist() == [[0, 1, 2, 3, 4]] * 2
    assert torch.equal(found.logits, logits)


def test_a_forbidden_token_stays_forbidden():
    logits = torch.tensor([[1.0, -torch.inf, 0.5]])
    candidates = top_candidates(logits, 3, None)
    assert candidates.logits[0, candidates.ids[0] == 1].item() == -math.inf


def test_entropy_equals_minus_the_sum_of_p_log_p():
    logits = torch.tensor([[2.0, 0.5, -1.0], [0.0, 0.0, -torch.inf]])
    p = [math.exp(value) / sum(math.exp(each) for each in (2.0, 0.5, -1.0)) for value in (2.0, 0.5, -1.0)]
    expected = [-sum(each * math.log(each) for each in p), math.log(2)]
    assert entropy_of(logits).tolist() == pytest.approx(expected, abs=1e-6)


def test_scattered_candidates_leave_minus_infinity_elsewhere():
    candidates = Candidates(torch.tensor([[3, 0]]), torch.tensor([[2.0, 1.0]]), False)
    found = scatter_candidates(torch.tensor([[5.0, 6.0]]), candidates, 5)
    assert found.tolist() == [[6.0, -math.inf, -math.inf, 5.0, -math.inf]]
