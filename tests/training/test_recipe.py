"""The settings of a run."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from good_words import good_words, quick
from trimtab import errors
from trimtab.training.fit import RunOptions
from trimtab.training.labels import train_from_labels
from trimtab.training.recipe import LM_RECIPE, DistilSettings, LabelSettings, PairSettings, Recipe, Source, check_fits
from trimtab.training.run_folder import RunFolder


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


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PairSettings(policy_temperature=0.3), "got policy_temperature=0.3, expected policy_loss with it"),
        (lambda: DistilSettings("orig", positions=3), "positions=3 with target='orig', expected target='candidates'"),
        (lambda: DistilSettings("delta", credit_share=0.5), "got credit_share=0.5, expected credit with it"),
    ],
)
def test_settings_that_nothing_reads_are_refused(build, message):
    with pytest.raises(errors.InvalidSetting, match=re.escape(message)):
        build()


def test_a_rank_above_the_bases_hidden_size_is_refused(llama):
    with pytest.raises(errors.InvalidSetting, match="got rank=33, expected at most the hidden size, 32"):
        train_from_labels(llama, ["good"], good_words(20), good_words(4), quick(rank=33))


@pytest.mark.parametrize(("trunk", "expected"), [("frozen", 1e-3), ("ladder", 2e-3), ("lora", 1e-3), ("full", 1e-5)])
def test_the_default_learning_rate_depends_on_the_trunk(trunk, expected):
    assert Recipe(trunk=trunk).resolved_learning_rate == expected
    assert Recipe(trunk=trunk, learning_rate=0.5).resolved_learning_rate == 0.5
    of_language_model = replace(LM_RECIPE, trunk=trunk) if trunk in ("lora", "full") else LM_RECIPE
    assert of_language_model.resolved_learning_rate == (1e-5 if trunk == "full" else 5e-4)


def test_a_ladder_that_cannot_be_built_is_refused_at_once():
    with pytest.raises(errors.InvalidSetting, match="got head='v' with trunk='ladder', expected head=q"):
        Recipe(trunk="ladder", head="v")
    with pytest.raises(errors.InvalidSetting, match="got ladder_width=100, expected a multiple"):
        Recipe(ladder_width=100)
    with pytest.raises(errors.InvalidSetting, match="got ladder_layers=4, expected at most the 3 layers"):
        check_fits(Recipe(trunk="ladder", ladder_layers=4), layers=3, hidden_size=64)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Recipe(trunk="frozn"), "got trunk='frozn', expected 'frozen' or 'ladder' or 'lora' or 'full'"),
        (lambda: Recipe(rank="8"), "got rank='8', expected a whole number"),
        (lambda: Recipe(epochs=None), "got epochs=None, expected a number"),
        (lambda: Recipe(start=3), "got start=3, expected a text or None"),
        (lambda: Recipe(lr=1.0), "lr"),
        (lambda: LabelSettings(loss="squard"), "got loss='squard', expected 'squared' or 'cross-entropy'"),
        (lambda: DistilSettings(target="orgi"), "got target='orgi'"),
        (lambda: PairSettings(prefixes="yes"), "got prefixes='yes', expected True or False"),
        (lambda: Source(data=None), "got data=None, expected a text"),
        (lambda: RunOptions(run="folder"), "got run='folder'"),
        (lambda: RunOptions(provenance={"path": Path("x")}), "provenance that JSON cannot hold"),
        (lambda: RunFolder(3), "got path=3"),
    ],
)
def test_wrong_types_are_refused_at_once(build, message):
    with pytest.raises(errors.WrongType, match=re.escape(message)):
        build()


@pytest.mark.parametrize(
    "settings", [{"rank": 10**30}, {"regulariser": 1e308}, {"learning_rate": 1e30}, {"epochs": 1e12}]
)
def test_numbers_that_are_a_mistake_are_refused(settings):
    with pytest.raises(errors.InvalidSetting, match=r"at most 1e\+09"):
        Recipe(**settings)


@pytest.mark.parametrize("settings", [{"data": " "}, {"data": "x", "held_out": ""}])
def test_an_empty_name_of_a_table_is_refused(settings):
    with pytest.raises(errors.InvalidSetting, match="got an empty"):
        Source(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 4}, "got layers=4, expected at most the base's 3"),
        ({"rank": 33}, "got rank=33, expected at most the hidden size, 32"),
        ({"rank": 32, "lora_rank": 33}, "got lora_rank=33"),
    ],
)
def test_a_recipe_that_does_not_fit_its_base_is_refused(settings, message):
    with pytest.raises(errors.InvalidSetting, match=message):
        check_fits(Recipe(**settings), layers=3, hidden_size=32)


def test_settings_that_are_not_used_need_not_fit_the_base():
    check_fits(Recipe(head="v", rank=64, trunk="full", lora_rank=64), layers=3, hidden_size=32)


@pytest.mark.parametrize("start", ["", "  "])
def test_an_empty_start_is_refused(start):
    with pytest.raises(errors.InvalidSetting, match="empty start"):
        Recipe(start=start)
