"""`trimtab rewards`."""

import json
import shutil

import pytest

from trimtab.rewards.card import read_card


def test_the_list_names_every_bundled_reward_with_its_method(trimtab):
    lines = trimtab("rewards", "list").stdout.split("\n")
    rows = {line.split()[0]: line.split()[1] for line in lines[1:] if line.strip()}
    assert (
        rows.items() >= {"sentiment": "ARM", "sentiment-rad": "RAD", "toxicity": "ARM", "toxicity-rad": "RAD"}.items()
    )


def test_show_prints_the_card_of_a_reward(trimtab, teacher):
    shown = trimtab("rewards", "show", teacher).stdout
    assert json.loads(shown) == json.loads((teacher / "config.json").read_text(encoding="utf-8"))


def test_a_reward_is_measured_on_any_labelled_table(trimtab, place, teacher):
    data = ["--data", place / "dev.jsonl", "--column", "good", "--text-column", "sentence", "--max-tokens", 6]
    measured, trained = json.loads(trimtab("rewards", "measure", teacher, *data).stdout), read_card(teacher).quality
    assert measured["texts"] == 80
    assert measured["auc:good"] == pytest.approx(trained["auc:good"], abs=0.01)  # the saved weights are rounded
    assert measured["top1_flip"] == pytest.approx(trained["top1_flip"], abs=0.05)


def test_the_measured_quality_is_written_into_the_card_on_request(trimtab, place, teacher):
    copy = place / "copy"
    shutil.copytree(teacher, copy)
    data = ["--data", place / "dev.jsonl", "--column", "good", "--text-column", "sentence", "--limit", 40]
    measured = json.loads(trimtab("rewards", "measure", copy, *data).stdout)
    assert read_card(copy).quality == read_card(teacher).quality
    trimtab("rewards", "measure", copy, *data, "--write")
    assert read_card(copy).quality == measured
    assert measured["texts"] == 40
    assert "dev.jsonl" in (copy / "README.md").read_text(encoding="utf-8")
