"""A draft head is saved and loaded as it is, or refused."""

import json
from dataclasses import replace

import pytest
import torch

from draft_heads import tiny_draft
from tiny import tiny_lm
from trimtab.drafts.card import CARD_FILE, WEIGHTS_FILE, DraftCard, is_draft_folder, read_draft_card
from trimtab.drafts.draft_model import DraftModel, bundled_draft
from trimtab.errors import CorruptReward, InvalidSetting, RewardMismatch, TrainingDiverged


@pytest.fixture(scope="module")
def llama():
    return tiny_lm("llama")


@pytest.fixture
def folder(llama, tmp_path):
    draft = tiny_draft(llama)
    DraftModel(draft.head, replace(draft.card, quality={"acceptance 1": 0.5}), "mine").save_pretrained(
        tmp_path / "head", torch.float32
    )
    return tmp_path / "head"


def change_card(folder, **values):
    """Write other values into a card."""
    card = json.loads((folder / CARD_FILE).read_text())
    (folder / CARD_FILE).write_text(json.dumps({**card, **values}))


def test_a_loaded_head_has_the_bits_of_the_saved_one(llama, folder):
    saved, loaded = tiny_draft(llama).head.state_dict(), DraftModel.from_folder(folder, llama)
    assert loaded.head.state_dict().keys() == saved.keys()
    for name, weight in loaded.head.state_dict().items():
        assert torch.equal(weight, saved[name])
    assert loaded.card == read_draft_card(folder)
    assert loaded.card.weights_dtype == "float32 and int64"
    readme = (folder / "README.md").read_text()
    assert "| acceptance 1 | 0.500 |" in readme
    assert 'draft="path/to/head"' in readme


def test_a_head_is_saved_over_a_head_and_over_nothing_else(llama, folder, tmp_path):
    tiny_draft(llama, seed=1).save_pretrained(folder)
    assert DraftModel.from_folder(folder, llama).card.weights_dtype == "bfloat16 and int64"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "diary.txt").write_text("dear diary")
    with pytest.raises(InvalidSetting, match=r"it holds 'diary.txt'"):
        tiny_draft(llama).save_pretrained(tmp_path / "other")


def test_weights_that_are_not_finite_are_not_saved(llama, tmp_path):
    draft = tiny_draft(llama)
    with torch.no_grad():
        draft.head.onward.weight[0, 0] = torch.nan
    with pytest.raises(TrainingDiverged):
        draft.save_pretrained(tmp_path / "head")
    assert not (tmp_path / "head").exists()


def test_a_head_of_another_model_is_refused(folder):
    with pytest.raises(RewardMismatch, match="trimtab train draft --base 'tiny-llama'"):
        DraftModel.from_folder(folder, tiny_lm("llama", seed=1))


def test_damaged_folders_are_refused(llama, folder):
    with pytest.raises(CorruptReward, match=r"it has no config.json"):
        DraftModel.from_folder(folder.parent, llama)
    weights = (folder / WEIGHTS_FILE).read_bytes()
    (folder / WEIGHTS_FILE).write_bytes(weights[:-4] + b"\0\0\0\1")
    with pytest.raises(CorruptReward, match="SHA-256"):
        DraftModel.from_folder(folder, llama)
    (folder / WEIGHTS_FILE).write_bytes(weights)
    change_card(folder, width=18)
    with pytest.raises(CorruptReward, match="does not match its card"):
        DraftModel.from_folder(folder, llama)
    change_card(folder, width=16, tokens=7)
    with pytest.raises(CorruptReward, match="other tokens than its card"):
        DraftModel.from_folder(folder, llama)


@pytest.mark.parametrize(
    "values",
    [
        {"width": 15},
        {"taps": []},
        {"taps": [3, 1]},
        {"taps": [1, 99]},
        {"tokens": 0},
        {"kind": "reward"},
        {"heads": "2"},
        {"colour": "red"},
        {"base": None},
    ],
)
def test_cards_that_make_no_sense_are_refused(llama, folder, values):
    change_card(folder, **values)
    with pytest.raises((CorruptReward, InvalidSetting)):
        DraftModel.from_folder(folder, llama)


def test_text_that_is_no_card_is_refused(folder):
    for text in ("[]", "{", '{"kind": "draft head"}', "\0"):
        (folder / CARD_FILE).write_text(text)
        with pytest.raises(CorruptReward):
            read_draft_card(folder)


def test_the_folder_of_a_head_is_told_from_others(folder, tmp_path):
    assert is_draft_folder(folder)
    assert not is_draft_folder(tmp_path)
    change_card(folder, kind="reward")
    assert is_draft_folder(folder)  # a damaged one: it has the weights
    (folder / WEIGHTS_FILE).unlink()
    assert not is_draft_folder(folder)
    (folder / CARD_FILE).write_text("[]")
    assert not is_draft_folder(folder)


def test_a_tiny_model_has_no_head_in_the_package(llama):
    assert bundled_draft(llama) is None


def test_a_card_is_compared_without_its_weights(llama):
    card = tiny_draft(llama).card
    assert card == replace(card, weights_sha256="0" * 64)
    assert isinstance(card, DraftCard)
