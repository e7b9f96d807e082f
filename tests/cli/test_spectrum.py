"""`trimtab spectrum`."""

import json

import pytest

from tiny import save_lm, tiny_lm, tiny_reward, tiny_tokenizer
from trimtab.models.frozen_lm import FrozenLM
from trimtab.rewards.card import read_card


@pytest.fixture
def words(place, teacher, train_labels):
    """The words of the command, with two rewards."""
    if not (place / "q").exists():
        train_labels("--limit", 100, "--out", place / "q")
    return ["spectrum", teacher, place / "q", "--data", place / "train.csv", "--text-column", "sentence"]


def test_ranks_are_printed_and_written(trimtab, place, words):
    done = trimtab(*words, "--prefixes", 40, "--tokens", 0, "--out", place / "s", "--title", "Ranks", "--format", "svg")
    found = json.loads((place / "s" / "spectrum.json").read_text(encoding="utf-8"))
    assert [row["prefixes"] for row in found["ranks"]["q"]] == [16, 32, 40]
    assert found["ranks"]["q"][-1]["numerical"] <= read_card(place / "q").rank + 1  # the baseline adds one
    assert found["tokens"] == 64
    assert "Ranks" in (place / "s" / "spectrum.svg").read_text(encoding="utf-8")
    assert "ranks of N prefixes × 64 tokens; hidden size 32" in done.stdout
    last = done.stdout.split("40 ", 1)[1].split()
    assert last[0] == str(found["ranks"]["teacher"][-1]["numerical"])
    made_by = found["made_by"]
    assert made_by.keys() >= {"trimtab", "torch", "base_fingerprint", "dtype", "device", "data_sha256"}
    assert made_by["rewards"]["q"]["fingerprint"] != made_by["rewards"]["teacher"]["fingerprint"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--prefixes", 0], "--prefixes 0"),
        (["--prefixes", 10_000], "10000 prefixes"),
        (["--tokens", -3], "--tokens -3"),
        (["--prefixes", 4, "--tokens", 65], "the vocabulary's 64"),
        (["--seed", -1], "--seed -1"),
        (["--attribute", "nothing"], "nothing"),
        (["--format", "gif"], "png, svg, pdf"),
        (["--format", "svg"], "got --format, expected --out with it"),
        (["--title", "Ranks"], "got --title, expected --out with it"),
        (["--out", "/dev/full"], "expected a folder"),
        (["--data", "/nowhere.csv"], "no such file"),
    ],
)
def test_bad_values_are_refused_before_weights_load(trimtab, words, monkeypatch, more, message):
    def refuse(*given, **named):
        raise AssertionError("weights were loaded")

    monkeypatch.setattr("trimtab.models.loading.load_frozen_lm", refuse)
    done = trimtab(*words, *more, check=False)
    assert done.status == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_of_another_origin_is_kept_without_force(trimtab, words, tmp_path):
    (tmp_path / "spectrum.json").write_text('{"mine": 1}', encoding="utf-8")
    few = ["--prefixes", 16, "--tokens", 8, "--out", tmp_path]
    done = trimtab(*words, *few, check=False)
    assert "--force" in done.stderr
    assert (tmp_path / "spectrum.json").read_text(encoding="utf-8") == '{"mine": 1}'
    trimtab(*words, *few, "--force")
    trimtab(*words, *few)  # the record of an earlier run is ours
    assert (tmp_path / "spectrum.png").stat().st_size > 1000


def test_the_texts_may_be_those_of_a_split(trimtab, place, teacher, data_set):
    words = ["spectrum", teacher, "--data", data_set, "--text-column", "sentence", "--prefixes", 8, "--tokens", 4]
    assert "a split 'train'" in trimtab(*words, check=False).stderr
    assert "ranks of N prefixes × 4 tokens" in trimtab(*words, "--split", "validation").stdout


def test_only_tokens_that_the_base_has_are_drawn(trimtab, place, tmp_path):
    """A tokenizer may have more, as Gemma 3's has."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["more", "most"])
    lm = FrozenLM(tiny_lm("llama").model, tokenizer, str(tmp_path / "lm"))
    save_lm(lm, tmp_path / "lm")
    tiny_reward(lm, "q").save_pretrained(tmp_path / "q")
    tiny_reward(lm, "v").save_pretrained(tmp_path / "v")
    data = ["--data", place / "train.csv", "--text-column", "sentence", "--prefixes", 4]
    words = ["spectrum", tmp_path / "q", tmp_path / "v", *data]
    assert "ranks of N prefixes × 64 tokens" in trimtab(*words, "--tokens", 0).stdout
    assert "the vocabulary's 64" in trimtab(*words, "--tokens", 65, check=False).stderr
