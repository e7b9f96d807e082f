"""The rule against a hand computation in float64, from the model's raw logits and separately scored rewards."""

import math

import pytest
import torch

from tiny import tiny_reward
from trimtab.engines.base import Request
from trimtab.engines.loop import DecodeLoop
from trimtab.engines.settings import Sampling
from trimtab.steering.rule import entropy_of, top_candidates
from trimtab.testing import separate_rewards


def raw_logits(lm, prefix):
    return lm.model(torch.tensor([prefix]), use_cache=False).logits[0, -1].double().tolist()


def by_hand(lm, prefix, terms, k):
    """z' of the k best tokens: plain Python floats, one candidate at a time."""
    z = raw_logits(lm, prefix)
    candidates = sorted(range(len(z)), key=lambda v: -z[v])[:k]
    probabilities = [math.exp(v - max(z)) for v in z]
    entropy = -sum(p / sum(probabilities) * math.log(p / sum(probabilities)) for p in probabilities)
    steered = {}
    for v in candidates:
        steered[v] = z[v]
        for reward, column, beta, away, clamp, min_entropy in terms:
            r = separate_rewards(reward, prefix, [v])[0, column].double().item()
            low, high = clamp
            g = min(max(r, low), high)
            if entropy >= min_entropy:
                steered[v] += beta * ((high + low - g) if away else g)
    return steered


@pytest.fixture(scope="module")
def rewards(llama):
    return tiny_reward(llama, "q", seed=1), tiny_reward(llama, "v", seed=2)


def test_steered_logits_of_a_mixed_batch_equal_a_hand_computation(llama, rewards):
    arm, rad = rewards
    prefixes = [[10, 11, 12], [20, 21], [30, 31, 32, 33], [40, 41]]
    terms = [
        [(arm, 0, 7.0, False, (0.0, 1.0), 0.0)],
        [],
        [(arm, 1, 3.0, True, (-0.5, 0.5), 0.0), (rad, 0, 2.5, False, (0.0, 1.0), 0.0)],
        [(rad, 1, 4.0, True, (0.0, 1.0), 0.0)],
    ]
    steers = [
        arm.toward(7.0),
        None,
        arm.away(3.0, "calm", clamp=(-0.5, 0.5)) + rad.toward(2.5),
        rad.away(4.0, "calm"),
    ]
    requests = [Request(prefix, steer, 0) for prefix, steer in zip(prefixes, steers, strict=True)]
    loop = DecodeLoop(llama, requests, 1, Sampling(top_k=6))
    with torch.inference_mode():
        for _ in range(3):
            step = loop.step()
            for row, prefix in enumerate(prefixes):
                expected = by_hand(llama, prefix, terms[row], 6)
                found = dict(zip(step.candidates.ids[row].tolist(), step.steered[row].tolist(), strict=True))
                assert found == pytest.approx(expected, abs=1e-3)
            prefixes = [[*prefix, token] for prefix, token in zip(prefixes, step.tokens.tolist(), strict=True)]


def test_min_entropy_gates_by_the_base_distribution(llama, rewards):
    arm, _ = rewards
    prefix = [10, 11, 12]
    entropy = float(entropy_of(torch.tensor([raw_logits(llama, prefix)])))
    with torch.inference_mode():
        for threshold, beta in ((entropy * 0.9, 7.0), (entropy * 1.1, 0.0)):
            loop = DecodeLoop(llama, [Request(prefix, arm.toward(7.0, min_entropy=threshold), 0)], 1, Sampling(top_k=6))
            step = loop.step()
            expected = by_hand(llama, prefix, [(arm, 0, beta, False, (0.0, 1.0), 0.0)], 6)
            assert step.steered[0].tolist() == pytest.approx(
                [expected[v] for v in step.candidates.ids[0].tolist()], abs=1e-3
            )


def test_top_p_keeps_the_fewest_candidates_that_hold_it():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    for top_p, kept in ((0.4, 1), (0.5, 1), (0.6, 2), (0.8, 2), (0.81, 3), (1.0, 4)):
        candidates = top_candidates(logits, None, top_p)
        assert int(candidates.logits.isfinite().sum()) == kept, top_p


def test_a_forbidden_token_stays_forbidden():
    logits = torch.tensor([[1.0, -torch.inf, 0.5]])
    candidates = top_candidates(logits, 3, None)
    assert candidates.logits[0, candidates.ids[0] == 1].item() == -math.inf
