"""The rewards of a server: the default ones that fit its model, and with retokenize those that score texts."""

import pytest

from byte_lm import byte_lm
from tiny import save_lm, tiny_reward
from trimtab import errors
from trimtab.engines.torch.engine import TorchEngine
from trimtab.language_model import LanguageModel
from trimtab.rewards import registry
from trimtab.rewards.registry import bundled_rewards
from trimtab.rewards.retokenized import RetokenizedReward
from trimtab.server.loading import DEFAULT_REWARDS, fitting_rewards, load_registered
from trimtab.server.public_names import RewardPlace, check_places, parse_places
from trimtab.server.reward_shelf import RewardShelf
from trimtab.server.schemas import SteerTerm


@pytest.fixture
def foreign(llama, tmp_path, monkeypatch):
    """A language model of another tokenizer than that of the bundled rewards "mood" and "mood-rad"."""
    monkeypatch.setattr(registry, "BUNDLED", tmp_path)
    monkeypatch.setattr("trimtab.server.loading.DEFAULT_REWARDS", ("mood",))
    monkeypatch.setattr(registry, "check_located", lambda *given: None)
    monkeypatch.setattr("trimtab.models.loading.load_frozen_lm", lambda *given, **named: llama)
    tiny_reward(llama, "q").save_pretrained(tmp_path / "mood")
    tiny_reward(llama, "v").save_pretrained(tmp_path / "mood-rad")
    return byte_lm("gpt2", merges=[])


def test_rewards_that_score_texts_are_offered_with_retokenize(foreign, llama):
    assert fitting_rewards(foreign) == []
    assert [place.name for place in fitting_rewards(foreign, retokenize=True)] == ["mood"]
    assert [place.name for place in fitting_rewards(llama)] == ["mood"]


def test_a_request_steers_by_a_reward_of_another_tokenizer(foreign):
    (found,) = load_registered([RewardPlace("kindness", "mood")], foreign, retokenize=True)
    assert isinstance(found.reward, RetokenizedReward)
    assert (found.about()["id"], found.about()["method"]) == ("kindness", "rad")
    steer = RewardShelf([found]).steer({"kindness": SteerTerm(beta=5.0)})
    assert steer.describe()[0]["reward"] == "kindness"
    written = LanguageModel(TorchEngine(foreign)).generate("w1", steer, top_k=3, max_new_tokens=2, seed=0)
    assert set(written.mean_rewards) == {"kindness:kind", "kindness:calm"}


def test_a_request_steers_by_language_models_under_one_name(llama, tmp_path):
    """No folder of the machine is in what the server tells of them."""
    save_lm(llama, tmp_path / "kind")
    places = parse_places([f"detox=experts:{tmp_path / 'kind'}"])
    check_places(places)
    (found,) = load_registered(places, llama)
    assert (found.about()["id"], found.about()["method"], found.about()["clamp"]) == ("detox", None, None)
    steer = RewardShelf([found]).steer({"detox": SteerTerm(beta=2.0)})
    assert str(tmp_path) not in str(steer.describe())
    written = LanguageModel(TorchEngine(llama)).generate("w1", steer, top_k=3, max_new_tokens=2, seed=0)
    assert set(written.mean_rewards) == {"detox:expert"}
    with pytest.raises(errors.ModelNotFound):
        check_places(parse_places(["detox=experts:nowhere"]))


def test_the_default_rewards_are_bundled_and_on_the_models_own_states():
    trunks = {name: card.trunk for name, card in bundled_rewards().items()}
    assert {trunks[name] for name in DEFAULT_REWARDS} == {"ladder"}


def test_a_model_of_another_tokenizer_has_none(llama):
    assert fitting_rewards(llama) == []


@pytest.mark.slow
def test_the_embedded_model_has_both(smollm2):
    assert [place.source for place in fitting_rewards(smollm2.base)] == list(DEFAULT_REWARDS)
