"""`trimtab train`, `spectrum` and `import`, as they are typed, on a tiny language model in a folder."""

import csv
import json
import shutil

import pytest
import torch
from typer.testing import CliRunner

from good_words import good_pairs, good_words
from tiny import tiny_lm
from trimtab import errors
from trimtab.cli.app import app
from trimtab.rewards.card import read_card
from trimtab.rewards.released import HEAD

QUICK = ["--batch-size", "20", "--warmup-steps", "5", "--learning-rate", "1e-2", "--rank", "8", "--lora-rank", "4"]
QUICK += ["--no-bf16", "--checkpoints", "2", "--max-tokens", "6"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a language model, labelled texts in two formats, and pairs."""
    folder = tmp_path_factory.mktemp("place")
    lm = tiny_lm("llama", seed=3)
    lm.model.save_pretrained(folder / "lm")
    lm.tokenizer.save_pretrained(folder / "lm")
    with (folder / "train.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["sentence", "good"])
        rows.writerows([row.text, row.labels[0]] for row in good_words(320))
        rows.writerow(["bad row", "7"])
    held_out = [json.dumps({"sentence": row.text, "good": row.labels[0]}) for row in good_words(80, seed=1)]
    (folder / "dev.jsonl").write_text("\n".join(held_out), encoding="utf-8")
    pairs = [json.dumps({"chosen": pair.chosen, "rejected": pair.rejected}) for pair in good_pairs(100)]
    (folder / "pairs.jsonl").write_text("\n".join(pairs), encoding="utf-8")
    return folder


def run(place, *words):
    words = [str(word) for word in words]
    return CliRunner().invoke(app, words, catch_exceptions=False, env={"COLUMNS": "160"})


def labels(place, *more):
    data = ["--data", place / "train.csv", "--held-out", place / "dev.jsonl", "--text-column", "sentence"]
    return run(place, "train", "labels", *data, "--attribute", "good", "--base", place / "lm", *QUICK, *more)


@pytest.fixture(scope="module")
def teacher(place):
    done = labels(place, "--head", "v", "--epochs", 4, "--out", place / "teacher")
    assert done.exit_code == 0, done.output
    return place / "teacher", done.output


def test_labels_show_the_data_name_bad_rows_and_write_a_card(teacher):
    folder, shown = teacher
    for expected in (
        "1 rows skipped",
        "line 322: got good='7', expected a number in [0, 1]",
        "320, ",
        "texts longer than 6 tokens lose their end",
        "50.0% high",
        "sample good=",
        "accuracy:good",
        "useful tokens/s",
    ):
        assert expected in shown, (expected, shown)
    card = read_card(folder)
    assert card.quality["accuracy:good"] > 0.9
    assert card.provenance["skipped in train.csv"] == 1
    assert card.provenance["truncated"] > 0
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "accuracy_by_prefix:good" in readme
    assert "calibration:good" in readme
    assert card.provenance["command"].replace("|", "\\|") in readme
    settings = json.loads((folder.with_name("teacher.run") / "settings.json").read_text())
    assert settings["recipe"]["rank"] == 8
    assert settings["recipe"]["clip"] == 2.0


def test_the_same_command_again_goes_on_and_another_is_refused(place, teacher):
    again = labels(place, "--head", "v", "--epochs", 4, "--out", place / "teacher")
    assert again.exit_code == 0
    with pytest.raises(errors.InvalidData, match=r"recipe\.epochs: 4\.0 there, 5\.0 here"):
        labels(place, "--head", "v", "--epochs", 5, "--out", place / "teacher")


def test_several_attributes_cross_entropy_and_balance(place):
    done = labels(
        place, "--attribute", "again", "--column", "good", "--column", "good", "--loss", "cross-entropy",
        "--balance", "--limit", 200, "--epochs", 3, "--out", place / "two",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    card = read_card(place / "two")
    assert (card.attributes, card.link) == (("good", "again"), "sigmoid")
    assert card.quality["accuracy:again"] > 0.9
    assert card.provenance["texts"] == 200


def test_pairs(place):
    done = run(
        place, "train", "pairs", "--data", place / "pairs.jsonl", "--attribute", "kind", "--base", place / "lm", *QUICK,
        "--prefixes", "--epochs", 8, "--out", place / "kind",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert read_card(place / "kind").quality["accuracy:kind"] > 0.9


def test_distil_and_spectrum(place, teacher):
    data = ["--data", place / "train.csv", "--text-column", "sentence"]
    done = run(
        place, "train", "distil", "--teacher", teacher[0], *data, "--held-out", place / "dev.jsonl", "--column", "good",
        "--base", place / "lm", *QUICK, "--candidates", 5, "--epochs", 4, "--start", teacher[0], "--limit", 100,
        "--held-out-limit", 50, "--balance", "--out", place / "student",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert (place / "student.run" / "targets" / "targets.json").is_file()
    card = read_card(place / "student")
    assert card.quality["accuracy:good"] > 0.9
    assert card.quality["texts"] == 50
    shown = run(
        place, "spectrum", teacher[0], place / "student", *data, "--prefixes", 40, "--tokens", 0, "--out", place / "s"
    )
    assert shown.exit_code == 0, shown.output
    found = json.loads((place / "s" / "spectrum.json").read_text())
    assert found["ranks"]["student"][-1]["numerical"] <= 8 + 1
    assert (place / "s" / "spectrum.png").stat().st_size > 1000


def test_a_reward_is_measured_on_any_table(place, teacher):
    asked = ["--data", place / "dev.jsonl", "--column", "good", "--text-column", "sentence", "--max-tokens", 6]
    done = run(place, "rewards", "measure", teacher[0], *asked)
    assert done.exit_code == 0, done.output
    found, trained = json.loads(done.output), read_card(teacher[0]).quality
    assert found["texts"] == 80
    assert found["auc:good"] == pytest.approx(trained["auc:good"], abs=0.01)  # those of the saved, rounded weights
    assert found["top1_flip"] == pytest.approx(trained["top1_flip"], abs=0.05)
    shutil.copytree(teacher[0], place / "copy")
    run(place, "rewards", "measure", place / "copy", *asked, "--write")
    assert read_card(place / "copy").quality == found
    assert "dev.jsonl" in (place / "copy" / "README.md").read_text(encoding="utf-8")


def test_import_rad(place):
    lm = tiny_lm("gpt2")
    lm.model.save_pretrained(place / "gpt2")
    lm.tokenizer.save_pretrained(place / "gpt2")
    state = {f"model.{name}": weight for name, weight in lm.model.state_dict().items() if not name.startswith(HEAD)}
    state |= {"model.lm_head.weight": torch.zeros(2, 32), "model.lm_head.bias": torch.tensor([0.25, 0.75])}
    torch.save(state, place / "rad.pt")
    done = run(
        place,
        "import",
        "rad",
        place / "rad.pt",
        "--attributes",
        "a, b",
        "--base",
        place / "gpt2",
        "--out",
        place / "ab",
    )
    assert done.exit_code == 0, done.output
    scored = run(place, "score", "--reward", place / "ab", "--text", "w1 w2")
    assert scored.output.startswith("a=0.2500 b=0.7500")


def test_what_is_wrong_is_said_before_any_work(place, teacher):
    cases = {
        "2 columns for 1": ["labels", "--column", "a", "--column", "b", "--data", place / "train.csv"],
        "no such file": ["labels", "--data", place / "none.csv"],
        "expected --column with it": ["distil", "--balance", "--data", place / "train.csv", "--teacher", teacher[0]],
        "Q-head": [
            "distil", "--head", "v", "--data", place / "train.csv", "--text-column", "sentence", "--teacher", teacher[0]
        ],
        "expected more than 0": ["labels", "--rank", "0", "--data", place / "train.csv"],
    }  # fmt: skip
    for number, (message, words) in enumerate(cases.items()):
        with pytest.raises(errors.TrimtabError, match=message):
            run(place, "train", *words, "--base", place / "lm", "--out", place / f"wrong{number}")
        assert not (place / f"wrong{number}").exists()
