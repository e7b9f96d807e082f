"""The card of a reward: what it refuses, and its JSON."""

import json

import pytest

from tiny import tiny_reward
from trimtab import errors
from trimtab.rewards.card import RewardCard
from trimtab.rewards.registry import BUNDLED, bundled_rewards


def test_the_cards_of_the_bundled_rewards_are_read_and_written_unchanged():
    cards = bundled_rewards()
    assert {"sentiment", "sentiment-rad", "toxicity", "toxicity-rad"} <= cards.keys()
    for name, card in cards.items():
        text = (BUNDLED / name / "config.json").read_text(encoding="utf-8")
        assert RewardCard.from_json(text) == card
        assert json.loads(card.to_json()) == json.loads(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": 0}, "got layers=0"),
        ({"attributes": ("a", "a")}, "different names"),
        ({"clamp": (1.0, 0.0)}, "low < high"),
        ({"clamp": (0.0, float("inf"))}, "both finite"),
    ],
)
def test_a_setting_out_of_range_is_refused(llama, change, message):
    with pytest.raises(errors.InvalidSetting, match=message):
        tiny_reward(llama, "q", **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 99}, "upgrade trimtab"),
        ({"surprise": 1}, "unknown fields in config.json: surprise"),
        ({"attributes": "abc"}, "expected a list of names"),
        ({"head": "x"}, "got head='x'"),
    ],
)
def test_cards_with_unknown_or_wrong_fields_are_refused(llama, change, message):
    values = json.loads(tiny_reward(llama, "q").card.to_json())
    with pytest.raises(errors.CorruptReward, match=message):
        RewardCard.from_json(json.dumps({**values, **change}))


def test_an_attribute_is_found_by_name_and_the_first_is_the_default(llama):
    card = tiny_reward(llama, "q").card
    assert (card.attribute_index(None), card.attribute_index("kind"), card.attribute_index("calm")) == (0, 0, 1)
    with pytest.raises(errors.UnknownAttribute, match="expected one of: kind, calm"):
        card.attribute_index("brave")


def test_another_tokenizer_is_refused_with_both_fingerprints(llama):
    card = tiny_reward(llama, "q").card
    card.check_tokenizer("mine", llama.codec.fingerprint)
    with pytest.raises(errors.RewardMismatch, match=rf"'mine' .*{llama.codec.fingerprint}.*has 0123"):
        card.check_tokenizer("mine", "0123")
