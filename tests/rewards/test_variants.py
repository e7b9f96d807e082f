"""Bundled rewards of one name for several bases: the right one is found by the language model."""

from dataclasses import replace

import pytest

from byte_lm import byte_lm
from tiny import tiny_ladder, tiny_lm, tiny_reward
from trimtab import errors
from trimtab.rewards import registry
from trimtab.rewards.card import CARD_FILE, read_card
from trimtab.rewards.registry import (
    check_reward,
    check_steers,
    find_reward,
    load_reward,
    load_steers,
    name_by_method,
    rewards_for,
    teaching_reward,
)
from trimtab.rewards.variants import Fingerprints


@pytest.fixture(scope="module")
def other():
    """A model of another tokenizer."""
    return byte_lm("gpt2", merges=[("w", "1")])


@pytest.fixture(scope="module")
def larger():
    """A model of the first one's tokenizer, with other weights."""
    return tiny_lm("llama", seed=8)


@pytest.fixture
def bundled(llama, other, tmp_path, monkeypatch):
    """A package that bundles "mood" for two tokenizers, and for the first one with layers of its own, too."""
    monkeypatch.setattr(registry, "BUNDLED", tmp_path)
    tiny_ladder(llama).save_pretrained(tmp_path / "mood")
    tiny_reward(llama, "q").save_pretrained(tmp_path / "mood@all")
    tiny_reward(other, "q", attributes=("calm",)).save_pretrained(tmp_path / "mood@other")
    tiny_reward(llama, "v").save_pretrained(tmp_path / "mood-rad")
    tiny_reward(other, "v").save_pretrained(tmp_path / "mood-rad@other")
    return tmp_path


def test_the_models_own_reward_comes_first_then_one_with_layers_of_its_own(bundled, llama, other, larger, monkeypatch):
    monkeypatch.setattr("trimtab.models.loading.load_frozen_lm", lambda name, device, dtype: llama)
    found = {
        "own": load_reward("mood", llama),
        "of its tokenizer": load_reward("mood", larger),
        "of another": load_reward("mood", other),
    }
    assert {why: reward.card.trunk for why, reward in found.items()} == {
        "own": "ladder",
        "of its tokenizer": "lora",
        "of another": "lora",
    }
    assert found["of another"].attributes == ("calm",)
    assert {(reward.name, reward.source) for reward in found.values()} == {("mood", "mood")}
    assert load_reward("mood@all", llama).card.trunk == "lora"


def test_a_ladder_on_the_model_precedes_layers_on_it_whatever_their_names(bundled, other):
    assert load_reward("mood", other).card.trunk == "lora"
    tiny_ladder(other).save_pretrained(bundled / "mood@other-ladder")
    assert load_reward("mood", other).card.trunk == "ladder"


def test_a_reward_whose_base_is_nowhere_serves_that_base_alone(bundled, llama, other, monkeypatch):
    """Of the weights of its base a card may know the hash and no place."""
    monkeypatch.setattr("trimtab.models.loading.load_frozen_lm", lambda name, device, dtype: llama)
    path = bundled / "mood@other" / CARD_FILE
    path.write_text(replace(read_card(path.parent), base="other (weights ab12)").to_json(), encoding="utf-8")
    sibling = byte_lm("gpt2", merges=[("w", "1")], seed=5)
    assert load_reward("mood", other).attributes == ("calm",)
    with pytest.raises(errors.RewardMismatch, match=r"trimtab adapt mood --model .* or use it at once, slowly"):
        load_reward("mood", sibling)
    assert find_reward("mood", Fingerprints(sibling.codec.fingerprint)) == path.parent  # its weights are not known
    (steer,) = load_steers(["mood:calm=2"], None, sibling, retokenize=True).terms
    assert steer.reward.original.card.head == "v"


def test_without_a_model_it_is_the_first_bases(bundled):
    assert find_reward("mood") == bundled / "mood"
    assert find_reward("mood@other") == bundled / "mood@other"


def test_a_model_that_none_serves_is_refused(bundled):
    with pytest.raises(errors.RewardMismatch, match="'mood' was trained for the tokenizer"):
        load_reward("mood", byte_lm("llama", merges=[]))


def test_steers_and_their_checks_find_the_same_reward(bundled, other):
    check_steers(["mood:calm=2"], None, other.codec)
    check_steers(["mood:calm=2"], "rad", other.codec)
    assert load_steers(["mood:calm=2"], None, other).terms[0].reward.base is other
    assert load_steers(["mood:calm=2"], "rad", other).terms[0].reward.card.head == "v"
    assert check_reward("mood", other.codec).attributes == ("calm",)
    with pytest.raises(errors.UnknownAttribute):
        check_steers(["mood:kind=2"], None, other.codec)


def test_a_method_and_a_teacher_stay_on_the_base_that_is_named(bundled):
    assert name_by_method("mood", "rad") == "mood-rad"
    assert name_by_method("mood@other", "rad") == "mood-rad@other"
    assert teaching_reward("mood@other") == "mood-rad@other"
    assert teaching_reward("mood@all") == "mood@all"


def test_a_reward_for_later_bases_alone_is_found_by_its_short_name(bundled, other):
    (bundled / "mood@other").rename(bundled / "joy@other")
    assert find_reward("joy") == bundled / "joy@other"
    assert load_reward("joy", other).name == "joy"


def test_each_name_is_listed_once_with_the_card_that_serves(bundled, llama, other):
    assert {name: card.trunk for name, card in rewards_for(Fingerprints.of(llama)).items()} == {
        "mood": "ladder",
        "mood-rad": "lora",
    }
    of_other = rewards_for(Fingerprints(other.codec.fingerprint))
    assert {card.tokenizer_fingerprint for card in of_other.values()} == {other.codec.fingerprint}


def test_an_unknown_name_lists_each_bundled_name_once(bundled):
    with pytest.raises(errors.RewardNotFound, match=r"expected one of: mood, mood-rad; or"):
        find_reward("moood!")
