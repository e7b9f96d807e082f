"""Each objective against a float64 computation by hand, on two texts of 2 and 3 known tokens."""

import math

import pytest
import torch

from trimtab.training.objectives import (
    Loss,
    bradley_terry,
    position_weights,
    prefix_bradley_terry,
    squared_error,
    token_mean,
    weighted_cross_entropy,
    weighted_squared_error,
)

REWARDS = [[[9.0, 9.0], [0.5, 0.1], [0.8, 0.2]], [[0.2, 0.6], [0.4, 0.4], [0.9, 0.0]]]
OTHERS = [[[0.3, 0.1], [0.9, 0.7], [0.2, 0.4]], [[7.0, 7.0], [0.6, 0.2], [0.1, 0.5]]]
KNOWN = [[False, True, True], [True, True, True]]
OTHERS_KNOWN = [[True, True, True], [False, True, True]]
LABELS = [[1.0, 0.25], [0.0, 1.0]]


def known_rewards(rows, known):
    return [[r for r, k in zip(row, of_row, strict=True) if k] for row, of_row in zip(rows, known, strict=True)]


def weighted_by_hand(error):
    total = 0.0
    for rewards, labels in zip(known_rewards(REWARDS, KNOWN), LABELS, strict=True):
        length = len(rewards)
        for t, at_t in enumerate(rewards, start=1):
            total += 2 * t / (length * (length + 1)) * sum(error(r, y) for r, y in zip(at_t, labels, strict=True))
    return total / len(REWARDS)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def poisoned():
    rewards = torch.tensor(REWARDS)
    rewards[0, 0] = math.nan  # the value at padding must not matter
    return rewards


def test_the_weighted_squared_error_equals_a_hand_computation():
    found = weighted_squared_error(poisoned(), torch.tensor(LABELS), torch.tensor(KNOWN))
    assert found.mean.item() == pytest.approx(weighted_by_hand(lambda r, y: (r - y) ** 2), abs=1e-6)


def test_the_cross_entropy_equals_a_hand_computation_with_a_soft_label():
    found = weighted_cross_entropy(poisoned(), torch.tensor(LABELS), torch.tensor(KNOWN))
    expected = weighted_by_hand(lambda a, y: -(y * math.log(sigmoid(a)) + (1 - y) * math.log(1 - sigmoid(a))))
    assert found.mean.item() == pytest.approx(expected, abs=1e-6)


def test_bradley_terry_equals_a_hand_computation():
    chosen, rejected = torch.tensor(REWARDS)[:, -1], torch.tensor(OTHERS)[:, -1]
    expected = -sum(
        math.log(sigmoid(c - r)) for c, r in zip(chosen.flatten().tolist(), rejected.flatten().tolist(), strict=True)
    )
    assert bradley_terry(chosen, rejected).mean.item() == pytest.approx(expected / 2, abs=1e-6)


def test_pairs_of_prefixes_are_compared_up_to_the_length_of_the_shorter_text():
    total = 0.0
    for chosen, rejected in zip(known_rewards(REWARDS, KNOWN), known_rewards(OTHERS, OTHERS_KNOWN), strict=True):
        length = min(len(chosen), len(rejected))
        for t in range(1, length + 1):
            pairs = zip(chosen[t - 1], rejected[t - 1], strict=True)
            total -= 2 * t / (length * (length + 1)) * sum(math.log(sigmoid(c - r)) for c, r in pairs)
    others = torch.tensor(OTHERS)
    others[1, 0] = math.nan
    found = prefix_bradley_terry(poisoned(), others, torch.tensor(KNOWN), torch.tensor(OTHERS_KNOWN))
    assert found.mean.item() == pytest.approx(total / 2, abs=1e-6)


def test_the_squared_error_of_tokens_is_averaged_over_known_tokens_and_attributes():
    pairs = zip(known_rewards(REWARDS, KNOWN), known_rewards(OTHERS, KNOWN), strict=True)
    errors = [
        sum((r - o) ** 2 for r, o in zip(at_t, other, strict=True))
        for rewards, others in pairs
        for at_t, other in zip(rewards, others, strict=True)
    ]
    found = squared_error(poisoned(), torch.tensor(OTHERS), torch.tensor(KNOWN))
    assert found.mean.item() == pytest.approx(sum(errors) / 5 / 2, abs=1e-6)


def test_the_squared_error_of_candidates_is_averaged_over_candidates_and_attributes():
    rewards, targets = torch.rand(2, 3, 4, 2), torch.rand(2, 3, 4, 2)
    known = torch.tensor(KNOWN)[..., None].expand(2, 3, 4)
    errors = [
        float(((rewards[row, t].double() - targets[row, t].double()) ** 2).sum()) / 4
        for row in range(2)
        for t in range(3)
        if KNOWN[row][t]
    ]
    rewards[0, 0] = math.nan
    assert squared_error(rewards, targets, known).mean.item() == pytest.approx(sum(errors) / 5 / 2, abs=1e-6)


def test_merged_losses_have_the_mean_of_all_their_items():
    first, second = (Loss(torch.tensor(total), torch.tensor(items)) for total, items in ((6.0, 2), (3.0, 4)))
    assert first.merged(second).mean.item() == 1.5


def test_position_weights_sum_to_one_over_known_tokens():
    weights = position_weights(torch.tensor([*KNOWN, [False, False, False]]))
    assert weights[0].tolist() == pytest.approx([0, 1 / 3, 2 / 3])
    assert weights[1].tolist() == pytest.approx([1 / 6, 2 / 6, 3 / 6])
    assert weights[2].tolist() == [0, 0, 0]


def test_the_token_mean_ignores_padding():
    found = token_mean(torch.tensor([[math.nan, 1.0, 2.0], [3.0, 4.0, 5.0]]), torch.tensor(KNOWN))
    assert (found.total.item(), found.items.item()) == (15.0, 5)
    assert token_mean(torch.tensor([[7.0]]), torch.tensor([[False]])).mean.item() == 0
