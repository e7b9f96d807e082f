"""Rewards from labels: a tiny model learns to tell unseen texts apart, and its base stays as it was."""

from importlib.metadata import version
from itertools import product

import pytest
import torch

from good_words import good_words, quick
from tiny import tiny_lm
from trimtab import errors
from trimtab.data.tables import LabelledText
from trimtab.training.labels import train_from_labels
from trimtab.training.recipe import LabelSettings

TRAIN, HELD_OUT = good_words(320), good_words(80, seed=1)
GOOD, BAD = "w2 w3 w4", "w32 w33 w34"


@pytest.mark.parametrize(("head", "trunk"), [*product("qv", ["frozen", "lora", "full"]), ("q", "ladder")])
@pytest.mark.parametrize("loss", ["squared", "cross-entropy"])
def test_a_reward_learns_its_labels_and_leaves_the_base_unchanged(head, trunk, loss):
    lm = tiny_lm("llama", seed=3)
    before = {name: weight.clone() for name, weight in lm.model.state_dict().items()}
    settings = LabelSettings(loss)
    reward = train_from_labels(lm, ["good"], TRAIN, HELD_OUT, quick(head=head, trunk=trunk), settings)
    assert reward.card.quality["accuracy:good"] > (0.75 if trunk == "frozen" else 0.95)
    scores = reward.score([GOOD, BAD])[:, 0].tolist()
    assert scores[0] > scores[1]
    assert loss == "squared" or all(0 < score < 1 for score in scores)
    after = lm.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_card_records_recipe_data_and_quality():
    reward = train_from_labels(tiny_lm("llama"), ["good"], TRAIN[:40], HELD_OUT, quick(epochs=1))
    provenance, quality = reward.card.provenance, reward.card.quality
    assert provenance["recipe"]["learning_rate"] == 1e-2
    assert (provenance["texts"], provenance["truncated"], provenance["objective"]) == (40, 0, "labels, squared")
    assert provenance["torch"] == version("torch")  # a build for GPUs has another torch.__version__
    assert quality["texts"] == 80
    assert list(quality["accuracy_by_prefix:good"]) == [f"{tenth}0%" for tenth in range(1, 11)]
    assert sum(row["texts"] for row in quality["calibration:good"]) == 80
    assert 0 <= quality["top1_flip"] <= 1


def test_an_empty_table_is_refused(llama):
    with pytest.raises(errors.InvalidData, match="at least one"):
        train_from_labels(llama, ["good"], TRAIN, [], quick())


@pytest.mark.parametrize("labels", [(7.0,), (float("nan"),), (1.0, 0.0), ()])
def test_labels_out_of_range_are_refused(llama, labels):
    with pytest.raises(errors.InvalidData, match=r"a number in \[0, 1\]"):
        train_from_labels(llama, ["good"], [LabelledText("w1 w2", labels)], HELD_OUT, quick())
