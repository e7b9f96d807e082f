"""`trimtab train` on a tiny language model."""

import json

import pytest

from trimtab import errors
from trimtab.rewards.card import read_card

QUICK = ["--batch-size", "20", "--warmup-steps", "5", "--learning-rate", "1e-2", "--rank", "8", "--lora-rank", "4"]
QUICK += ["--no-bf16", "--checkpoints", "2", "--max-tokens", "6"]


@pytest.mark.parametrize(
    "expected",
    [
        "1 rows skipped",
        "line 322: got good='7', expected a number in [0, 1]",
        "320, ",
        "texts longer than 6 tokens lose their end",
        "50.0% high",
        "sample good=",
        "accuracy:good",
        "useful tokens/s",
    ],
)
def test_training_shows_the_data_the_bad_rows_and_the_quality(trained, expected):
    assert expected in trained[1]


def test_a_reward_from_labels_has_a_card_with_quality_and_provenance(teacher):
    card = read_card(teacher)
    assert card.quality["accuracy:good"] > 0.9
    assert card.provenance["skipped in train.csv"] == 1
    assert card.provenance["truncated"] > 0
    readme = (teacher / "README.md").read_text(encoding="utf-8")
    assert "accuracy_by_prefix:good" in readme
    assert "calibration:good" in readme
    assert card.provenance["command"].replace("|", "\\|") in readme


def test_the_run_folder_keeps_the_settings(teacher):
    settings = json.loads((teacher.with_name("teacher.run") / "settings.json").read_text(encoding="utf-8"))
    assert settings["recipe"]["rank"] == 8
    assert settings["recipe"]["clip"] == 2.0


def test_the_command_in_the_card_names_files_without_their_folders(trimtab, place):
    data = ["--data", place / "train.csv", "--text-column", "sentence", "--column", "good", "--limit", 40]
    trimtab("train", "labels", *data, "--base", place / "lm", *QUICK, "--out", place / "named")
    command = read_card(place / "named").provenance["command"]
    assert command.startswith("trimtab train labels --data train.csv --text-column sentence")
    assert str(place) not in command.partition(" --out ")[0]


def test_the_same_command_again_resumes_and_another_one_is_refused(teacher, train_labels):
    assert train_labels("--head", "v", "--epochs", 4, "--out", teacher).exit_code == 0
    with pytest.raises(errors.InvalidData, match=r"recipe\.epochs: 4\.0 there, 5\.0 here"):
        train_labels("--head", "v", "--epochs", 5, "--out", teacher)


def test_several_attributes_with_cross_entropy_and_balance(place, train_labels):
    done = train_labels(
        "--attribute", "again", "--column", "good", "--column", "good", "--loss", "cross-entropy",
        "--balance", "--limit", 200, "--epochs", 3, "--out", place / "two",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    card = read_card(place / "two")
    assert (card.attributes, card.link) == (("good", "again"), "sigmoid")
    assert card.quality["accuracy:again"] > 0.9
    assert card.provenance["texts"] == 200


def test_a_reward_is_trained_from_pairs(trimtab, place):
    data = ["--data", place / "pairs.jsonl", "--attribute", "kind", "--base", place / "lm"]
    trimtab("train", "pairs", *data, *QUICK, "--prefixes", "--epochs", 8, "--out", place / "kind")
    assert read_card(place / "kind").quality["accuracy:kind"] > 0.9


def test_a_reward_is_distilled_from_another_reward(trimtab, place, teacher):
    trimtab(
        "train", "distil", "--teacher", teacher, "--data", place / "train.csv", "--text-column", "sentence",
        "--held-out", place / "dev.jsonl", "--column", "good", "--base", place / "lm", *QUICK, "--candidates", 5,
        "--epochs", 4, "--start", teacher, "--limit", 100, "--held-out-limit", 50, "--balance",
        "--out", place / "student",
    )  # fmt: skip
    assert (place / "student.run" / "targets" / "targets.json").is_file()
    card = read_card(place / "student")
    assert card.quality["accuracy:good"] > 0.9
    assert card.quality["texts"] == 50


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("2 columns for 1", ["labels", "--column", "a", "--column", "b"]),
        ("expected --column with it", ["distil", "--balance", "--teacher", "TEACHER"]),
        ("head='v'", ["distil", "--head", "v", "--text-column", "sentence", "--teacher", "TEACHER"]),
        ("expected more than 0", ["labels", "--rank", "0"]),
        ("held_out_limit=5 without held_out", ["labels", "--held-out-limit", "5"]),
        ("outside --out", ["labels", "--run", "OUT/run"]),
    ],
)
def test_wrong_settings_are_refused_before_any_work(trimtab, place, teacher, tmp_path, message, words):
    out = tmp_path / "wrong"
    words = [word.replace("OUT", str(out)).replace("TEACHER", str(teacher)) for word in words]
    data = ["--data", place / "train.csv", "--base", place / "lm", "--out", out]
    done = trimtab("train", *words, *data, check=False)
    assert done.status == 1
    assert message in done.stderr
    assert not out.exists()
