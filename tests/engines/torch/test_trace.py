import math

import pytest
import torch

from trimtab.engines.torch import trace
from trimtab.engines.torch.loop import Step
from trimtab.engines.torch.trace import trace_step
from trimtab.steering.rule import Candidates


def step_of(logits, columns, bonus):
    """Return a step over these candidates; steering adds the bonus."""
    ids = torch.arange(logits.shape[1]).flip(0).expand_as(logits)
    return Step(
        ids.gather(1, columns[:, None]).squeeze(1),
        columns,
        Candidates(ids, logits, False),
        logits.log_softmax(-1),
        logits + bonus,
        {"reward": bonus},
    )


def test_a_wide_trace_keeps_the_best_candidates_and_the_chosen_one(lm, monkeypatch):
    monkeypatch.setattr(trace, "TRACE_WIDTH", 6)
    monkeypatch.setattr(trace, "KEPT_OF_MORE", 6)
    wide = lm.generate("w1 w2", top_k=None, max_new_tokens=5, seed=0)
    for token in wide.trace:
        assert len(token.choice.candidates) == 6
        assert int(token.choice.candidates[token.choice.column]) == token.token_id


def test_the_kl_of_a_wide_row_is_over_all_of_its_candidates(monkeypatch):
    """The trace keeps 4 of 12 candidates."""
    monkeypatch.setattr(trace, "TRACE_WIDTH", 4)
    monkeypatch.setattr(trace, "KEPT_OF_MORE", 4)
    draw = torch.Generator().manual_seed(0)
    logits, bonus = torch.randn(2, 12, generator=draw), 3 * torch.rand(2, 12, generator=draw)
    bonus[1] = 0.0
    step = step_of(logits, torch.tensor([1, 0]), bonus)._replace(scale=torch.tensor([0.25, 1.0]))
    first, second = trace_step(step, [None, None])
    steered, base = ((logits + bonus)[0].double().log_softmax(0), logits[0].double().log_softmax(0))
    assert first.kl == pytest.approx(float((steered.exp() * (steered - base)).sum()), abs=1e-6)
    assert (second.kl, first.scale, second.scale) == (0.0, 0.25, 1.0)


@pytest.mark.parametrize("width", [4, 12, None])
def test_a_choice_has_the_log_probabilities_of_its_step(width, monkeypatch):
    """Against float64: base over all columns, steered over the row's candidates."""
    monkeypatch.setattr(trace, "TRACE_WIDTH", 8)
    monkeypatch.setattr(trace, "KEPT_OF_MORE", 8)
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 12, generator=draw).sort(descending=True).values
    bonus = torch.rand(3, 12, generator=draw)
    if width == 4:
        logits[:, 4:] = -math.inf
    columns = torch.tensor([3, 0, 2])
    for row, choice in enumerate(trace_step(step_of(logits, columns, bonus), [width] * 3)):
        steered = (logits + bonus)[row].double().log_softmax(0)
        base = logits[row].double().log_softmax(0)
        assert len(choice.candidates) == (4 if width == 4 else 8)
        assert choice.token_id == 11 - int(columns[row]) == int(choice.candidates[choice.column])
        for token, found, of_base, reward in zip(
            choice.candidates.tolist(),
            choice.steered_logprobs,
            choice.base_logprobs,
            choice.rewards["reward"],
            strict=True,
        ):
            assert float(found) == pytest.approx(float(steered[11 - token]), abs=1e-5)
            assert float(of_base) == pytest.approx(float(base[11 - token]), abs=1e-5)
            assert float(reward) == pytest.approx(float(bonus[row, 11 - token]))


def test_rows_of_different_widths_are_traced_with_their_own_candidates():
    logits = torch.tensor([[3.0, 2.0, 1.0, 0.0]] * 3)
    logits[0, 2:] = -math.inf
    found = trace_step(step_of(logits, torch.tensor([1, 2, 0]), torch.zeros(3, 4)), [2, 3, 4])
    assert [choice.candidates.tolist() for choice in found] == [[3, 2], [3, 2, 1], [3, 2, 1, 0]]
    assert [choice.column for choice in found] == [1, 2, 0]
    assert [len(choice.rewards["reward"]) for choice in found] == [2, 3, 4]


def test_a_choice_tells_whether_steering_changed_the_best_candidate():
    logits = torch.tensor([[3.0, 2.0], [3.0, 2.0]])
    changed, same = trace_step(step_of(logits, torch.tensor([0, 1]), torch.tensor([[0.0, 2.0], [0.0, 0.5]])), [2, 2])
    assert (changed.flipped, same.flipped) == (True, False)
    assert same.logprob == pytest.approx(math.log(math.exp(2.5) / (math.exp(2.5) + math.exp(3.0))))
    assert same.base_logprob == pytest.approx(math.log(math.exp(2.0) / (math.exp(2.0) + math.exp(3.0))))


@pytest.mark.parametrize("column", [0, 1, 11])
def test_a_wide_trace_holds_each_candidate_once(column, monkeypatch):
    """The chosen candidate and the base's best are among the best after steering, or not: none is held twice."""
    monkeypatch.setattr(trace, "TRACE_WIDTH", 8)
    monkeypatch.setattr(trace, "KEPT_OF_MORE", 8)
    logits = torch.arange(12.0).flip(0)[None]
    for bonus in (torch.zeros(1, 12), 3 * torch.arange(12.0)[None]):
        (choice,) = trace_step(step_of(logits, torch.tensor([column]), bonus), [12])
        assert len(set(choice.candidates.tolist())) == 8
        assert int(choice.candidates[choice.column]) == 11 - column
        assert 11 in choice.candidates.tolist()  # the base's best
