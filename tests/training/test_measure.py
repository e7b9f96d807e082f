"""The measures on held-out texts, against counts by hand and forwards place by place."""

import math
import re

import numpy as np
import pytest
import torch

from tiny import tiny_reward
from trimtab.testing import separate_rewards
from trimtab.training.measure import (
    FlipProbe,
    PairMeasure,
    TextMeasure,
    held_out_warning,
    label_quality,
    reliability,
    reward_at_fraction,
    reward_range,
)


def test_label_quality_equals_counts_by_hand():
    rewards = [np.array([0.9, 0.2, 0.8]), np.array([0.1, 0.7]), np.array([0.4]), np.array([0.6, 0.6, 0.6, 0.1])]
    found = label_quality(rewards, np.array([1.0, 1.0, 0.0, 0.0]), "a", absolute=True)
    assert found["accuracy:a"] == 1.0
    assert found["auc:a"] == 1.0
    assert found["accuracy_by_prefix:a"]["50%"] == pytest.approx(1 / 4)  # 0.2, 0.1, 0.4, 0.6: only 0.4 is right
    assert "accuracy:a" not in label_quality(rewards, np.array([1.0, 1.0, 0.0, 0.0]), "a", absolute=False)


def test_texts_without_a_reward_are_left_out():
    """A single token under a reward that puts no BOS before a text."""
    rewards, labels = [np.array([np.nan]), np.array([0.9]), np.array([0.2, 0.1])], np.array([0.0, 1.0, 0.0])
    found = label_quality(rewards, labels, "a", absolute=True)
    assert found == label_quality(rewards[1:], labels[1:], "a", absolute=True)
    assert label_quality(rewards[:1], labels[:1], "a", absolute=True) == {}
    assert reward_range([each[:, None] for each in rewards])["max"] == 0.9
    assert reward_range([np.full((1, 1), np.nan)])["max"] == 0.0


@torch.inference_mode()
def test_pairs_with_a_text_without_a_reward_are_left_out(llama):
    reward = tiny_reward(llama, "q", bos_token_id=None)
    chosen, rejected = [[10, 20, 30], [50]], [[11, 13], [40, 41, 42]]
    probe = FlipProbe(llama, chosen[:1], 1.0, None)
    both = PairMeasure(chosen, rejected, "kind", probe, llama.pad_token_id)(reward.network)
    known = PairMeasure(chosen[:1], rejected[:1], "kind", probe, llama.pad_token_id)(reward.network)
    for name in ("accuracy:kind", "accuracy_by_prefix:kind"):
        assert both[name] == known[name]
    assert [row["texts"] for row in both["calibration:kind"]] == [1]
    assert all(math.isfinite(value) for value in both["reward_range"].values())


def test_a_fraction_of_a_text_is_rounded_up_to_whole_tokens():
    assert [reward_at_fraction(np.arange(5.0), f) for f in (0.01, 0.2, 0.5, 1.0)] == [0, 0, 2, 4]


def test_calibration_counts_rewards_outside_the_range_in_the_outermost_tenths():
    found = reliability(np.array([-0.5, 0.05, 0.55, 0.59, 1.7]), np.array([0.0, 1.0, 1.0, 0.0, 1.0]))
    assert [(row["from"], row["texts"], row["label"]) for row in found] == [(0, 2, 0.5), (0.5, 2, 0.5), (0.9, 1, 1.0)]


@torch.inference_mode()
def test_the_share_of_flips_equals_a_count_place_by_place(frozen, head):
    reward, texts, beta = tiny_reward(frozen, head), [[10, 20, 30, 40, 15, 16, 33, 47], [50, 51], [12, 13, 14, 60]], 1.0
    flips = []
    for ids in texts:
        for place in range(1, len(ids)):
            top = frozen.model(torch.tensor([ids[:place]])).logits[0, -1].topk(20)
            rewards = separate_rewards(reward, ids[:place], top.indices.tolist())[:, 0].clamp(0, 1)
            flips.append(int((top.values + beta * rewards).argmax()) != 0)
    assert sum(flips) > 0
    assert FlipProbe(frozen, texts, beta, (0.0, 1.0))(reward.network) == pytest.approx(np.mean(flips))


@torch.inference_mode()
def test_the_accuracy_of_pairs_equals_a_count_of_separate_texts(llama):
    reward = tiny_reward(llama, "v")
    chosen, rejected = [[10, 20, 30], [50, 51], [12], [33, 34]], [[11], [40, 41, 42], [12], [9, 8, 7]]
    probe = FlipProbe(llama, chosen, 1.0, None)
    found = PairMeasure(chosen, rejected, "kind", probe, llama.pad_token_id)(reward.network)
    above = [
        float(reward.score_ids([c]).values[0, -1, 0]) > float(reward.score_ids([r]).values[0, -1, 0])
        for c, r in zip(chosen[:2] + chosen[3:], rejected[:2] + rejected[3:], strict=True)
    ]
    assert found["accuracy:kind"] == pytest.approx(sum(above) / 4)  # equal texts count as wrong
    assert found["texts"] == 4


def test_the_range_of_rewards_is_over_all_prefixes():
    found = reward_range([np.array([[0.0], [1.0]]), np.array([[2.0], [3.0], [4.0]])])
    assert (found["min"], found["median"], found["max"]) == (0.0, 2.0, 4.0)


@pytest.mark.parametrize(
    ("texts", "labels", "expected"),
    [
        (50, [[0.0, 1.0], [1.0, 0.0]] * 25, None),
        (50, None, None),
        (49, None, "only 49 held-out texts, fewer than 50: the figures are rough"),
        (1, None, "only 1 held-out text, fewer than 50: the figures are rough"),
        (50, [[0.0, 0.5], [1.0, 1.0]] * 25, "every held-out label of 'b' is at least 0.5: accuracy says nothing"),
        (50, [[0.0, 0.1], [0.4, 1.0]] * 25, "every held-out label of 'a' is below 0.5: accuracy says nothing"),
        (2, [[1.0, 0.1]] * 2, "only 2 .*; every .*'a' is at least 0.5.*; every .*'b' is below 0.5.*"),
    ],
)
def test_figures_that_say_little_have_a_warning(texts, labels, expected):
    found = held_out_warning(texts, None if labels is None else np.array(labels), ("a", "b"))
    assert found is None if expected is None else re.fullmatch(expected, found)


def test_the_warning_is_beside_the_figures_of_all_texts_only(llama):
    reward = tiny_reward(llama, "v", attributes=("kind",))
    texts, labels = [[10, 20], [50, 51], [12, 13]], np.array([[1.0], [0.0], [1.0]])
    probe = FlipProbe(llama, texts, 1.0, None)
    measures = [
        TextMeasure(texts, labels, ("kind",), False, probe, llama.pad_token_id),
        PairMeasure(texts, texts[::-1], "kind", probe, llama.pad_token_id),
    ]
    for measure in measures:
        assert "only 3 held-out texts" in measure(reward.network)["warning"]
        assert "warning" not in measure(reward.network, 2)
