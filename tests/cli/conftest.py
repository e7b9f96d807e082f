"""A folder with a tiny language model, data and a reward trained on it, and the command line in this process."""

import csv
import json
import shutil
import sys
from dataclasses import dataclass

import pytest
from typer.testing import CliRunner

from good_words import good_pairs, good_words
from tiny import save_lm, tiny_lm
from tiny_chat import TEMPLATE
from trimtab.cli.app import app, main

QUICK = ["--batch-size", "20", "--warmup-steps", "5", "--learning-rate", "1e-2", "--rank", "8", "--lora-rank", "4"]
QUICK += ["--no-bf16", "--checkpoints", "2", "--max-tokens", "6"]


@dataclass(frozen=True)
class Done:
    """What a command printed, and its exit status."""

    status: int
    stdout: str
    stderr: str


@pytest.fixture
def trimtab(monkeypatch, capfd):
    """Return a function that runs `trimtab` as the shell does, with 160 columns."""
    monkeypatch.setenv("COLUMNS", "160")

    def run(*words, check=True):
        monkeypatch.setattr(sys, "argv", ["trimtab", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        done = Done(ended.value.code or 0, *capfd.readouterr())
        assert not check or done.status == 0, done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """Return a folder with a language model, labelled texts in two formats, and pairs."""
    folder = tmp_path_factory.mktemp("place")
    lm = tiny_lm("llama", seed=3)
    save_lm(lm, folder / "lm")
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


@pytest.fixture
def data_set(place, monkeypatch):
    """Return the name of a data set on the Hub with labelled texts, all in its split "validation"."""
    rows = [json.loads(line) for line in (place / "dev.jsonl").read_text(encoding="utf-8").split("\n")]
    splits = {"validation": rows}
    monkeypatch.setattr("trimtab.data.records.load_dataset", lambda source, split: splits[split])
    return "org/words"


@pytest.fixture(scope="session")
def chat_model(place):
    """Return the folder of the same language model with a chat template."""
    folder = shutil.copytree(place / "lm", place / "chat")
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def train_labels(place):
    """Return a function that runs `trimtab train labels` on the labelled texts."""

    def run(*more):
        data = ["--data", place / "train.csv", "--held-out", place / "dev.jsonl", "--text-column", "sentence"]
        words = ["train", "labels", *data, "--attribute", "good", "--base", place / "lm", *QUICK, *more]
        return CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False, env={"COLUMNS": "160"})

    return run


@pytest.fixture(scope="session")
def trained(place, train_labels):
    """Return the folder of a reward with a V-head that knows good words, and what its training printed."""
    done = train_labels("--head", "v", "--epochs", 4, "--out", place / "teacher")
    assert done.exit_code == 0, done.output
    return place / "teacher", done.output


@pytest.fixture(scope="session")
def teacher(trained):
    """Return the folder of the trained reward."""
    return trained[0]
