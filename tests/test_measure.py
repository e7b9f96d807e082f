"""What is measured, against counts by hand and against the model asked place by place."""

import numpy as np
import pytest
import torch

from tiny import tiny_reward
from trimtab.testing import separate_rewards
from trimtab.training.measure import at, label_quality, reliability
from trimtab.training.probe import FlipProbe


def test_quality_equals_counts_by_hand():
    rewards = [np.array([0.9, 0.2, 0.8]), np.array([0.1, 0.7]), np.array([0.4]), np.array([0.6, 0.6, 0.6, 0.1])]
    found = label_quality(rewards, np.array([1.0, 1.0, 0.0, 0.0]), "a", absolute=True)
    assert found["accuracy:a"] == 1.0
    assert found["auc:a"] == 1.0
    assert found["accuracy_by_prefix:a"]["50%"] == pytest.approx(1 / 4)  # 0.2, 0.1, 0.4, 0.6: only 0.4 is right
    assert "accuracy:a" not in label_quality(rewards, np.array([1.0, 1.0, 0.0, 0.0]), "a", absolute=False)


def test_a_fraction_of_a_text_is_rounded_up():
    assert [at(np.arange(5.0), f) for f in (0.01, 0.2, 0.5, 1.0)] == [0, 0, 2, 4]


def test_reliability_counts_each_tenth_and_what_is_outside():
    found = reliability(np.array([-0.5, 0.05, 0.55, 0.59, 1.7]), np.array([0.0, 1.0, 1.0, 0.0, 1.0]))
    assert [(row["from"], row["texts"], row["label"]) for row in found] == [(0, 2, 0.5), (0.5, 2, 0.5), (0.9, 1, 1.0)]


@torch.inference_mode()
def test_flips_equal_asking_place_by_place(frozen, head):
    reward, texts, beta = tiny_reward(frozen, head), [[10, 20, 30, 40, 15, 16, 33, 47], [50, 51], [12, 13, 14, 60]], 1.0
    flips = []
    for ids in texts:
        for place in range(1, len(ids)):
            top = frozen.model(torch.tensor([ids[:place]])).logits[0, -1].topk(20)
            said = separate_rewards(reward, ids[:place], top.indices.tolist())[:, 0].clamp(0, 1)
            flips.append(int((top.values + beta * said).argmax()) != 0)
    assert sum(flips) > 0
    assert FlipProbe(frozen, texts, beta, (0.0, 1.0))(reward.network) == pytest.approx(np.mean(flips))
