"""Rewards by name and by method, and steers from text."""

import inspect
import re
import sys
import time
from subprocess import run

import pytest

from byte_lm import byte_lm
from tiny import tiny_reward
from trimtab import errors
from trimtab.rewards import registry
from trimtab.rewards.registry import (
    check_candidates,
    check_reward,
    check_steers,
    find_reward,
    load_any,
    load_by_method,
    load_reward,
    load_steers,
)
from trimtab.rewards.retokenized import RetokenizedReward
from trimtab.rewards.reward_model import RewardModel


@pytest.fixture
def bundled(llama, tmp_path, monkeypatch):
    """A package that bundles an ARM called "mood" and its RAD."""
    monkeypatch.setattr(registry, "BUNDLED", tmp_path)
    tiny_reward(llama, "q").save_pretrained(tmp_path / "mood")
    tiny_reward(llama, "v").save_pretrained(tmp_path / "mood-rad")
    return tmp_path


@pytest.fixture(scope="session")
def foreign():
    """A language model of another tokenizer."""
    return byte_lm("llama", merges=[])


@pytest.fixture
def on_llama(bundled, llama, monkeypatch):
    """The bundled rewards, whose base needs no files."""
    monkeypatch.setattr("trimtab.models.loading.load_frozen_lm", lambda *given, **named: llama)
    monkeypatch.setattr(registry, "check_located", lambda *given: None)


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


@pytest.mark.parametrize("clamp", [(1.0, 2.0), (-3.0, 0.0)])
def test_a_clamp_that_leaves_nothing_of_the_rewards_range_is_refused(bundled, llama, clamp):
    with pytest.raises(errors.InvalidSetting, match=r"a range that overlaps the reward's, \(0\.0, 1\.0\)"):
        load_reward("mood", llama).away(3.0, "kind", clamp=clamp)


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


@pytest.fixture
def no_hub(monkeypatch):
    """Fail if the Hub is asked."""
    monkeypatch.setattr(registry, "fetch", lambda name, patterns: pytest.fail(f"asked the Hub for {name!r}"))


@pytest.mark.parametrize(
    "name", ["sentimnt", "", "/no/such", "./a/b", "a/b/", "a/b/c", "two words", "x" * 5000, "a\0b", "é"]
)
def test_a_name_that_is_no_hub_id_is_refused_without_a_look_up(no_hub, name):
    with pytest.raises(errors.RewardNotFound, match=r"expected one of: .*OWNER/NAME") as caught:
        load_reward(name)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["two words/x", "mine/", "/mine", "./mine", "../mine", "a/b\n", "a/é"])
def test_a_name_with_a_slash_is_checked_before_the_hub_is_asked(monkeypatch, name):
    monkeypatch.setattr("trimtab.data.hub._look_up", lambda name: pytest.fail("asked the Hub"))
    with pytest.raises(errors.RewardNotFound, match="OWNER/NAME"):
        load_reward(name)


@pytest.mark.parametrize(("typed", "meant"), [("sentimnt", "sentiment"), ("Toxicity", "toxicity"), ("zebra", None)])
def test_a_close_name_is_suggested(no_hub, typed, meant):
    with pytest.raises(errors.RewardNotFound) as caught:
        load_reward(typed)
    assert str(caught.value).endswith(f"; did you mean {meant!r}?") == (meant is not None)


def test_a_reward_on_the_hub_is_fetched(llama, tmp_path, monkeypatch):
    tiny_reward(llama, "q").save_pretrained(tmp_path / "mood")
    asked = []
    monkeypatch.setattr(registry, "fetch", lambda *given: asked.append(given) or tmp_path / "mood")
    assert load_reward("me/mood", llama).source == "me/mood"
    assert asked == [("me/mood", ("config.json", "*.safetensors"))]


def test_offline_fails_at_once(monkeypatch):
    monkeypatch.setenv("TRIMTAB_OFFLINE", "1")
    start = time.perf_counter()
    with pytest.raises(errors.RewardNotFound, match="TRIMTAB_OFFLINE forbids the network"):
        load_reward("no/such-reward")
    assert time.perf_counter() - start < 5  # a ceiling for a busy machine


def test_a_path_is_accepted_as_a_name(llama, tmp_path):
    tiny_reward(llama, "q").save_pretrained(tmp_path / "mood")
    assert load_reward(tmp_path / "mood", llama).source == str(tmp_path / "mood")


@pytest.mark.parametrize("name", [3, None, b"sentiment", ["sentiment"]])
def test_a_name_of_another_type_is_refused(name):
    with pytest.raises(errors.WrongType, match=r"got name=.*, expected a text"):
        find_reward(name)


def test_a_model_of_another_type_is_refused():
    with pytest.raises(errors.WrongType, match="got lm='smollm2', expected FrozenLM or None"):
        load_reward("sentiment", "smollm2")


def test_damaged_weights_are_found_before_the_base_loads(llama, tmp_path, monkeypatch):
    tiny_reward(llama, "q").save_pretrained(tmp_path / "mood")
    (tmp_path / "mood" / "reward.safetensors").write_bytes(b"")
    monkeypatch.setattr("trimtab.models.loading.load_frozen_lm", lambda *given: pytest.fail("loaded the base"))
    with pytest.raises(errors.CorruptReward, match="is damaged"):
        load_reward(tmp_path / "mood")


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


def damage(folder):
    """Flip a bit of a weight."""
    content = bytearray((folder / "reward.safetensors").read_bytes())
    content[-9] ^= 1
    (folder / "reward.safetensors").write_bytes(content)


def test_a_reward_is_checked_without_its_base(bundled, llama, foreign, monkeypatch):
    monkeypatch.setattr("trimtab.models.loading.load_frozen_lm", lambda *given: pytest.fail("the base was loaded"))
    assert check_reward("mood").attributes == ("kind", "calm")
    with pytest.raises(errors.RewardMismatch, match="tokenizer"):
        check_reward("mood", foreign.codec)
    damage(bundled / "mood")
    for name in ("mood", bundled / "mood"):
        with pytest.raises(errors.CorruptReward, match="is damaged"):
            check_reward(name, llama.codec)


def test_steers_are_checked_with_their_weights_once_the_tokenizer_is_known(bundled, llama):
    check_steers(["mood:kind=2", "mood-rad:kind=-3"], None, llama.codec)
    damage(bundled / "mood-rad")
    check_steers(["mood:kind=2", "mood-rad:kind=-3"])
    with pytest.raises(errors.CorruptReward, match="is damaged"):
        check_steers(["mood:kind=2", "mood-rad:kind=-3"], None, llama.codec)
    with pytest.raises(errors.CorruptReward, match="is damaged"):
        check_steers(["mood:kind=2"], "rad", llama.codec)


def test_a_steer_by_one_of_several_rewards_names_it(bundled, llama):
    with pytest.raises(errors.InvalidSetting, match=r"expected mood:kind=\+2 or mood:calm=\+2"):
        check_steers(["mood=2"], None, llama.codec)


def test_a_reward_of_texts_steers_a_model_of_another_tokenizer(on_llama, foreign, llama):
    """With retokenize only; a model of the reward's own tokenizer keeps the ordinary reward."""
    steer = load_steers(["mood=+20", "mood-rad:calm=-3"], base=foreign, retokenize=True)
    assert [term.reward.card.head for term in steer.terms] == ["v", "v"]
    assert all(isinstance(term.reward, RetokenizedReward) for term in steer.terms)
    assert isinstance(load_any("mood", llama, retokenize=True), RewardModel)
    check_steers(["mood:calm=2"], None, foreign.codec, retokenize=True)
    with pytest.raises(errors.RewardMismatch):
        load_any("mood", foreign)
    assert load_steers(["mood=2"], "rad", foreign, retokenize=True).terms[0].reward.name == "mood-rad"
    for refused in (
        lambda: check_steers(["mood:kind=2"], "arm", foreign.codec, retokenize=True),
        lambda: load_steers(["mood:kind=2"], "arm", foreign, retokenize=True),
    ):
        with pytest.raises(errors.InvalidSetting, match="expected a reward with a V-head"):
            refused()
    assert isinstance(load_steers(["mood=2"], "arm", llama, retokenize=True).terms[0].reward, RewardModel)
    with pytest.raises(errors.InvalidSetting, match="expected 1 to 1024"):
        check_candidates(["mood=2"], None, None, foreign.codec, retokenize=True)


def test_a_mismatch_names_both_ways_with_their_commands(on_llama, bundled, llama, foreign, tmp_path):
    both = "trimtab adapt mood --model bytes-llama; or use it at once, slowly: trimtab generate 'I think that' --model "
    both += "bytes-llama --steer mood:kind=+30 --retokenize"
    for refused in (
        lambda: load_reward("mood", foreign),
        lambda: check_reward("mood", foreign.codec),
        lambda: check_steers(["mood:kind=2"], None, foreign.codec),
    ):
        with pytest.raises(errors.RewardMismatch, match=re.escape(both)):
            refused()
    mine = tmp_path / "my rewards" / "v"
    tiny_reward(llama, "v", attributes=("toxic",)).save_pretrained(mine)
    with pytest.raises(errors.RewardMismatch, match=f"adapt '{mine}' --model.* --steer '{mine}=-30' --retokenize"):
        load_reward(mine, foreign)
    tiny_reward(llama, "q").save_pretrained(tmp_path / "tokens")
    with pytest.raises(
        errors.RewardMismatch, match="rewards list --model bytes-llama; or make one for it: trimtab adapt toxicity"
    ) as one:
        load_reward(tmp_path / "tokens", foreign)
    assert "retokenize" not in str(one.value)


@pytest.mark.parametrize("texts", ["", "mood=2", {}, None, 1, b"", [None], [b"mood=2"]])
def test_steers_of_another_type_are_refused(bundled, texts):
    for read in (load_steers, check_steers):
        with pytest.raises(errors.WrongType, match="texts="):
            inspect.unwrap(read)(texts)  # the type checker of the tests would refuse it first


@pytest.mark.parametrize("method", [[], {}, 3, "x" * 300_000])
def test_a_method_of_another_type_is_refused(bundled, method):
    with pytest.raises(errors.InvalidSetting, match="method") as caught:
        inspect.unwrap(load_steers)(["mood=2"], method)
    assert len(str(caught.value)) < 300
