"""The draft head that ships: its files, and its language model."""

import pytest

from trimtab.drafts.card import WEIGHTS_FILE, read_draft_card
from trimtab.drafts.draft_model import BUNDLED
from trimtab.rewards.registry import bundled_rewards
from trimtab.rewards.weights import sha256

FOLDERS = sorted(path.parent for path in BUNDLED.glob("*/config.json"))


def test_one_ships_for_the_embedded_model():
    assert [folder.name for folder in FOLDERS] == ["smollm2"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_its_card_names_its_model_its_weights_and_how_it_was_made(folder):
    card = read_draft_card(folder)
    sentiment = bundled_rewards()["sentiment"]
    assert card.base_weights_fingerprint == sentiment.base_weights_fingerprint
    assert card.tokenizer_fingerprint == sentiment.tokenizer_fingerprint
    assert card.weights_sha256 == sha256(folder / WEIGHTS_FILE)
    assert (folder / WEIGHTS_FILE).stat().st_size < 8e6
    assert card.provenance["command"]
    assert card.quality["acceptance 1"] > 0.35
    assert not str(card.provenance["data"]).startswith("/")
