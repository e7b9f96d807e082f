"""Facts for a card: nothing in them tells a folder of this machine."""

import pytest

from good_words import good_words, quick
from tiny import tiny_lm
from trimtab.training.facts import command_line, without_folders
from trimtab.training.labels import train_from_labels


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("/home/me/data/train.csv", "train.csv"),
        ("data/train.csv", "data/train.csv"),
        ("stanfordnlp/sst2", "stanfordnlp/sst2"),
        ("/", "/"),
        ("", ""),
        ("/home/me/rewards/", "rewards"),
    ],
)
def test_only_absolute_paths_lose_their_folders(name, expected):
    assert without_folders(name) == expected


def test_a_command_can_be_repeated_in_the_folder_that_it_was_typed_in():
    words = ["trimtab", "train", "labels", "--data", "/home/me/my data.csv", "--out", "rewards/polite", "--base=/m/lm"]
    expected = "trimtab train labels --data 'my data.csv' --out rewards/polite --base=lm"
    assert command_line(words) == expected
    classifiers = ["trimtab", "adapt", "--classifier", "onnx:/home/me/clf:toxic", "--classifier=onnx:/home/me/other"]
    assert command_line(classifiers) == "trimtab adapt --classifier onnx:clf:toxic --classifier=onnx:other"


def test_a_card_tells_what_computed_it(llama):
    reward = train_from_labels(tiny_lm("llama"), ["good"], good_words(40), good_words(20, 1), quick(epochs=1))
    provenance = reward.card.provenance
    assert (provenance["computed_in"], provenance["base_dtype"], provenance["device"]) == ("float32", "float32", "cpu")
    assert {"trimtab", "torch", "transformers", "examples_digest", "held_out_digest"} <= provenance.keys()
    assert provenance["recipe"]["seed"] == 0
    assert next(iter(reward.card.quality)) == "warning"
    assert reward.card.quality["warning"].startswith("only 20 held-out texts")
