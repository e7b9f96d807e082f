"""The card of a reward: what it refuses, and its JSON."""

import contextlib
import json
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiny import tiny_reward
from trimtab import errors
from trimtab.rewards.card import RewardCard, read_card
from trimtab.rewards.registry import BUNDLED, bundled_rewards
from trimtab.rewards.weights import sha256

ABSOLUTE_PATH = re.compile(r"(?<![\w.~/-])(/|~/|[A-Za-z]:\\\\?)[\w.-]+")
BUNDLED_CARD = json.loads((BUNDLED / "sentiment" / "config.json").read_text(encoding="utf-8"))


def test_the_cards_of_the_bundled_rewards_are_read_and_written_unchanged():
    cards = bundled_rewards()
    assert {"sentiment", "sentiment-rad", "toxicity", "toxicity-rad"} <= cards.keys()
    for name, card in cards.items():
        text = (BUNDLED / name / "config.json").read_text(encoding="utf-8")
        assert RewardCard.from_json(text) == card
        assert json.loads(card.to_json()) == json.loads(text)


SHA256 = re.compile(r"[0-9a-f]{64}")
HASHED_LATER = ("sentiment-lora", "sentiment-own", "sentiment-rad", "toxicity-lora", "toxicity-own", "toxicity-rad")


def test_the_cards_of_the_bundled_rewards_have_hashes_of_their_data():
    hashes: dict[str, set[object]] = {}
    for card in bundled_rewards().values():
        for role in ("data", "held_out"):
            if str(card.provenance.get(role, "a tenth of the data")).endswith("of the data"):
                continue  # of a file that has a hash; `adapt` holds out a tenth
            digest = card.provenance[f"{role}_sha256"]
            assert SHA256.fullmatch(str(digest))
            file = str(card.provenance[role]).removeprefix("data/")
            hashes.setdefault(file, set()).add(digest)
    copied = {name: len(found) for name, found in hashes.items() if not name.startswith("texts/")}
    assert copied == dict.fromkeys(copied, 1)  # texts/ has the model's own samples, of which a near tie may change one


@pytest.mark.parametrize("name", HASHED_LATER)
def test_a_card_whose_hashes_were_taken_later_says_so_and_what_agreed(name):
    card = bundled_rewards()[name]
    note = str(card.provenance["data_hashes"])
    assert "taken after training" in note
    assert f"{card.provenance['texts']} texts" in note
    assert f"{card.quality['texts']} held-out texts" in note


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
        ({"surprise": 1}, "unknown fields in config.json: 'surprise'; upgrade"),
        ({"attributes": "abc"}, "got attributes='abc', expected a list"),
        ({"attributes": [1]}, "attributes=.1,., expected"),
        ({"attributes": []}, "expected one or more"),
        ({"head": "x"}, "got head='x'"),
        ({"head": ["q"]}, "expected a text"),
        ({"base": None}, "got base=None, expected a text"),
        ({"layers": "3"}, "got layers='3', expected a whole number"),
        ({"layers": 10**200}, "got layers=1000.*…, expected 1 to"),
        ({"lora_alpha": 0}, "got lora_alpha=0"),
        ({"trunk": "half"}, "got trunk='half', expected 'frozen' or"),
        ({"clamp": [0]}, "got clamp"),
        ({"clamp": 1}, "got clamp=1"),
        ({"clamp": [0, 10**200]}, "got clamp=.*expected .low, high., both finite"),
        ({"bos_token_id": -1}, "got bos_token_id=-1"),
        ({"bos_token_id": 1.5}, "expected a whole number or None"),
        ({"provenance": []}, "got provenance=.., expected a mapping"),
        ({"quality": "good"}, "got quality='good', expected a mapping"),
        ({"weights_sha256": 3}, "expected a text or None"),
    ],
)
def test_cards_with_unknown_or_wrong_fields_are_refused(llama, change, message):
    values = json.loads(tiny_reward(llama, "q").card.to_json())
    with pytest.raises(errors.CorruptReward, match=message):
        RewardCard.from_json(json.dumps({**values, **change}))


def nested(depth):
    return json.loads("[" * depth + "]" * depth)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[]", "expected an object"),
        ("", "not JSON"),
        (json.dumps({**BUNDLED_CARD, "quality": {"a": nested(100)}}), "nested more than 20 deep"),
        (json.dumps({**BUNDLED_CARD, "quality": {"a": float("nan")}}), "NaN"),
        (json.dumps({**BUNDLED_CARD, "clamp": [0, 1]}).replace("[0, 1]", "[0, 1e999]"), "finite number"),
        (json.dumps({name: value for name, value in BUNDLED_CARD.items() if name != "base"}), "missing .*'base'"),
    ],
)
def test_a_text_that_is_no_card_is_refused(text, message):
    with pytest.raises(errors.CorruptReward, match=message):
        RewardCard.from_json(text)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from([*BUNDLED_CARD, "surprise"]), JSON_VALUES, min_size=1, max_size=3), st.booleans()
)
@settings(derandomize=True, max_examples=300, deadline=None)
def test_any_change_of_a_card_is_read_or_refused(change, removed):
    values = {name: value for name, value in {**BUNDLED_CARD, **change}.items() if not (removed and name in change)}
    try:
        card = RewardCard.from_json(json.dumps(values))
    except errors.CorruptReward:
        return
    assert RewardCard.from_json(card.to_json()) == card
    assert isinstance(card.layers + card.rank, int)
    assert all(isinstance(name, str) for name in card.attributes)


@given(st.binary(max_size=6), st.integers(0, 2000))
@settings(derandomize=True, max_examples=300, deadline=None)
def test_any_change_of_bytes_is_read_or_refused(noise, place):
    content = json.dumps(BUNDLED_CARD).encode()
    text = (content[:place] + noise + content[place + len(noise) :]).decode("utf-8", "replace")
    with contextlib.suppress(errors.CorruptReward):
        assert isinstance(RewardCard.from_json(text).attributes, tuple)


@pytest.mark.parametrize("name", bundled_rewards())
def test_a_bundled_card_has_the_hash_of_its_weights_and_no_absolute_path(name):
    card = bundled_rewards()[name]
    assert card.weights_sha256 == sha256(BUNDLED / name / "reward.safetensors")
    assert card.weights_dtype == "bfloat16"
    assert not ABSOLUTE_PATH.search((BUNDLED / name / "config.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("text", ["--out /tmp/train/x", '"data": "/home/a/b.csv"', "--run ~/runs", "C:\\\\data"])
def test_the_search_for_absolute_paths_finds_them(text):
    assert ABSOLUTE_PATH.search(text)
    assert not ABSOLUTE_PATH.search("trimtab train --out rewards/sentiment --data a/b.csv 1/2 user/data")


def test_the_fingerprint_is_of_what_decides_a_reward(llama):
    card = tiny_reward(llama, "q").card
    alike = [{"base": "elsewhere"}, {"quality": {"auc": 1.0}}, {"provenance": {}}, {"weights_sha256": "0" * 64}]
    other = [{"link": "sigmoid"}, {"attributes": ("safe", "calm")}, {"clamp": (0.0, 1e-9)}, {"lora_alpha": 8}]
    assert {replace(card, **change).fingerprint for change in alike} == {card.fingerprint}
    assert len({card.fingerprint, *(replace(card, **change).fingerprint for change in other)}) == 1 + len(other)


def test_an_attribute_is_found_by_name_and_the_first_is_the_default(llama):
    card = tiny_reward(llama, "q").card
    assert (card.attribute_index(None), card.attribute_index("kind"), card.attribute_index("calm")) == (0, 0, 1)
    with pytest.raises(errors.UnknownAttribute, match="expected one of: kind, calm"):
        card.attribute_index("brave")


def test_hidden_characters_of_attributes_are_shown_as_numbers(llama):
    card = tiny_reward(llama, "q", attributes=("a\x1b[31m", "b")).card
    with pytest.raises(errors.UnknownAttribute, match=r"got attribute 'c', expected one of: a<U\+001B>\[31m, b"):
        card.attribute_index("c")


def test_another_tokenizer_is_refused_with_both_fingerprints(llama):
    card = tiny_reward(llama, "q").card
    card.check_tokenizer("mine", llama.codec.fingerprint)
    with pytest.raises(errors.RewardMismatch, match=rf"'mine' .*{llama.codec.fingerprint}.*has 0123"):
        card.check_tokenizer("mine", "0123")


@pytest.mark.parametrize("wrong", [None, 1, b"x"])
def test_a_folder_or_a_text_of_another_type_is_refused(wrong):
    with pytest.raises(errors.WrongType, match="folder="):
        read_card(wrong)
    with pytest.raises(errors.WrongType, match="text="):
        RewardCard.from_json(wrong)


@pytest.mark.parametrize("folder", ["x" * 300_000, "a\0b", "nowhere"])
def test_a_path_without_a_card_is_refused_in_short(folder):
    with pytest.raises(errors.CorruptReward, match="expected the folder of a reward") as caught:
        read_card(folder)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", ["weights_sha256", "base_weights_fingerprint"])
def test_a_card_of_this_schema_has_its_hashes_and_an_older_one_need_not(name):
    card = bundled_rewards()["sentiment"]
    values = {**json.loads(card.to_json()), name: None}
    with pytest.raises(errors.CorruptReward, match=f"it has no {name}; fetch"):
        RewardCard.from_json(json.dumps(values))
    assert RewardCard.from_json(json.dumps({**values, "schema_version": 1})).missing_hashes == (name,)
    assert card.missing_hashes == ()
