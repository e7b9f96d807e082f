"""The settings of a run."""

import math

import pytest

from good_words import good_words, quick
from trimtab import errors
from trimtab.training.labels import train_from_labels
from trimtab.training.recipe import DistilSettings, LabelSettings, Recipe


@pytest.mark.parametrize(
    "settings",
    [{"rank": 0}, {"regulariser": -1.0}, {"epochs": 0}, {"layers": 0}, {"learning_rate": math.nan}, {"seed": -1}],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(errors.InvalidSetting, match=f"got {next(iter(settings))}=.*expected"):
        Recipe(**settings)


def test_unknown_losses_and_targets_are_refused():
    with pytest.raises(errors.InvalidSetting, match="expected at least 1"):
        DistilSettings(candidates=0)
    assert LabelSettings().loss == "squared"


def test_a_rank_above_the_bases_hidden_size_is_refused(llama):
    with pytest.raises(errors.InvalidSetting, match="got rank=33, expected at most the hidden size, 32"):
        train_from_labels(llama, ["good"], good_words(20), good_words(4), quick(rank=33))


@pytest.mark.parametrize(("trunk", "expected"), [("frozen", 1e-3), ("lora", 1e-3), ("full", 1e-5)])
def test_the_default_learning_rate_depends_on_the_trunk(trunk, expected):
    assert Recipe(trunk=trunk).resolved_learning_rate == expected
    assert Recipe(trunk=trunk, learning_rate=0.5).resolved_learning_rate == 0.5
