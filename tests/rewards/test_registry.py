"""Rewards by name and by method, and steers from text."""

import sys
from subprocess import run

import pytest

from tiny import tiny_reward
from trimtab import errors
from trimtab.rewards import registry
from trimtab.rewards.registry import load_by_method, load_reward, load_steers


@pytest.fixture
def bundled(llama, tmp_path, monkeypatch):
    """A package that bundles an ARM called "mood" and its RAD."""
    monkeypatch.setattr(registry, "BUNDLED", tmp_path)
    tiny_reward(llama, "q").save_pretrained(tmp_path / "mood")
    tiny_reward(llama, "v").save_pretrained(tmp_path / "mood-rad")
    return tmp_path


def test_a_method_finds_the_bundled_reward_of_that_method(bundled, llama):
    assert load_by_method("mood", None, llama).card.head == "q"
    assert load_by_method("mood", "arm", llama).card.head == "q"
    assert load_by_method("mood", "rad", llama).name == "mood-rad"
    assert load_by_method("mood-rad", "rad", llama).name == "mood-rad"


def test_a_reward_of_another_method_is_refused(bundled, llama):
    with pytest.raises(errors.InvalidSetting, match=r"got method 'arm' for 'mood-rad', expected 'rad'"):
        load_by_method("mood-rad", "arm", llama)
    with pytest.raises(errors.InvalidSetting, match=r"got method 'x', expected arm or rad"):
        load_by_method("mood", "x", llama)


def test_steers_are_added_and_each_reward_is_loaded_once(bundled, llama):
    steer = load_steers(["mood=+20", "mood:calm=-5", "mood-rad=3"], None, llama)
    assert [(t.attribute, t.beta, t.away) for t in steer.terms] == [(0, 20.0, False), (1, 5.0, True), (0, 3.0, False)]
    assert steer.terms[0].reward is steer.terms[1].reward
    assert steer.terms[2].reward is not steer.terms[0].reward
    assert load_steers([], None, llama) is None


@pytest.mark.parametrize("text", ["mood", "mood=", "=3", "mood=much", "mood=nan"])
def test_a_steer_of_another_form_is_refused(bundled, llama, text):
    with pytest.raises(errors.InvalidSetting, match=r"expected NAME=\+BETA"):
        load_steers([text], None, llama)


def test_an_unknown_attribute_is_refused(bundled, llama):
    with pytest.raises(errors.UnknownAttribute, match="kind, calm"):
        load_steers(["mood:brave=3"], None, llama)


def test_finding_rewards_imports_no_torch():
    code = "import sys, trimtab.rewards.registry as r; r.bundled_rewards(); assert 'torch' not in sys.modules"
    assert run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["sentimnt", "no/such-reward"])
def test_an_unknown_reward_is_refused_with_the_bundled_ones(llama, name):
    with pytest.raises(errors.RewardNotFound, match=r"sentiment, .*toxicity"):
        load_reward(name, llama)


def test_a_folder_without_a_reward_is_refused_with_the_missing_file(llama, tmp_path):
    with pytest.raises(errors.CorruptReward, match=r"config\.json"):
        load_reward(str(tmp_path), llama)


def test_a_reward_of_another_tokenizer_is_refused_with_both_fingerprints(llama):
    with pytest.raises(errors.RewardMismatch, match=llama.codec.fingerprint):
        load_reward("sentiment", llama)


def test_a_card_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "config.json").write_bytes(b"\xff\xfe")
    with pytest.raises(errors.CorruptReward, match="cannot read"):
        load_reward(str(tmp_path))
