"""`trimtab evaluate preference` and `judges`."""

import contextlib
import json
import shutil

import pytest

from evaluate_runs import run
from trimtab.errors import InvalidData, InvalidOutput, TrimtabError


def test_judges_are_measured_on_labels_and_shown_in_a_report(place, copied):
    words = ["--data", place / "labelled.jsonl", "--judge", "vader", "--task", "sentiment", "--out", copied]
    printed = run("judges", *words)
    assert "vader" in printed
    assert "1.000" in printed
    run("report", copied)
    assert "| vader | labelled (label) |" in (copied / "report.md").read_text(encoding="utf-8")


def test_judges_are_measured_on_labels_of_another_scale(place, tmp_path):
    texts = ["What a lovely day", "Awful, horrible", "A wonderful film", "I hate it"]
    rows = [{"text": text, "label": stars} for text, stars in zip(texts, (5, 1, 4, 2), strict=True)]
    (tmp_path / "stars.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    words = ["judges", "--data", tmp_path / "stars.jsonl", "--judge", "vader", "--task", "sentiment"]
    with pytest.raises(InvalidData, match="give their scale: --label-range 1 5"):
        run(*words)
    run(*words, "--label-range", 1, 5, "--out", tmp_path)
    (of_vader,) = json.loads((tmp_path / "judges.json").read_text(encoding="utf-8"))["stars (label)"].values()
    assert (of_vader["accuracy"], of_vader["made_by"]["label_range"]) == (1.0, [1, 5])


def test_preferences_compare_rewards(place, tmp_path):
    rewards = ["--reward", place / "q", "--reward", f"{place / 'both'}:calm"]
    printed = run("preference", "--data", place / "pairs.jsonl", *rewards, "--down", "--out", tmp_path / "found.json")
    assert "1 row skipped" in printed
    written = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    (of_data,) = written["figures"].values()
    assert [set(figures) for figures in of_data.values()] == [{"accuracy", "ties"}] * 2
    made_by = written["made_by"]
    assert made_by.keys() >= {"trimtab", "torch", "transformers", "scorers", "data", "template"}
    assert len(made_by["data"]["pairs"]["sha256"]) == 64
    assert all(of["fingerprint"] and of["base_fingerprint"] for of in made_by["scorers"].values())
    assert {of["direction"] for of in made_by["scorers"].values()} == {"down"}


def test_preferences_compare_judges_with_rewards(place, tmp_path):
    """A reward as a judge is clamped, which ties pairs and swaps none; a classifier has a sign of its own."""
    rows = [{"prompt": f"w{n}", "chosen": f"w{n + 1} w2", "rejected": f"w{n + 2}"} for n in range(8)]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    both = [
        "--reward",
        place / "q",
        "--judge",
        f"{place / 'q'}:kind=+1",
        "--judge",
        "vader=-1",
        "--model",
        place / "lm",
    ]
    words = ["preference", "--data", tmp_path / "texts.jsonl", *both, "--template", "{prompt} {answer}"]
    run(*words, "--out", tmp_path / "found.json")
    written = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    reward, judge, vader = written["figures"]["texts"].values()
    accuracy, ties = judge["accuracy"]["value"], judge["ties"]["value"]
    assert 0 < accuracy <= reward["accuracy"]["value"] <= accuracy + ties
    assert vader["ties"]["value"] == 1
    made_of = list(written["made_by"]["scorers"].values())
    assert made_of[1]["model"]["weights_fingerprint"]
    assert made_of[2]["avoid"] == "true"


def test_preference_needs_something_to_measure(place, without_weights):
    for more, match in (
        ([], "neither --reward nor --judge"),
        (["--judge", "vader"], "got the judge"),
        (["--judge", "vader=+1", "--down"], "got --down, expected --reward with it"),
        (["--judge", "vader=+1", "--judge", "vader=+1"], "twice|different"),
        (["--judge", "self:nowhere"], "nowhere"),
        (["--judge", "vader=+1", "--model", "nowhere"], "nowhere"),
    ):
        with pytest.raises(TrimtabError, match=match):
            run("preference", "--data", place / "pairs.jsonl", *more)


def test_preference_replaces_no_file_and_no_input(place, tmp_path, without_weights):
    data = shutil.copy(place / "pairs.jsonl", tmp_path)
    (tmp_path / "mine.json").write_text("mine", encoding="utf-8")
    words = ["preference", "--data", data, "--reward", place / "q"]
    for out, match in ((data, "input"), (tmp_path / "mine.json", "--force"), ("/dev/full", "regular file")):
        with pytest.raises(InvalidOutput, match=match):
            run(*words, "--out", out)
    assert (tmp_path / "mine.json").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--template", "{prompt}"], "answer"),
        (["--template", "{x}{answer}"], "template"),
        (["--limit", "0"], "got --limit 0"),
        (["--reward", "nowhere/at-all"], "nowhere"),
        (["--reward", "both"], "which has several rewards, expected both:kind or both:calm"),
        (["--judge", "profanity=-1", "--judge-soft"], "--judge-soft with --judge"),
        (["--judge-chat"], "--judge-chat with no --judge"),
    ],
)
def test_bad_values_of_preference_are_refused_before_weights_load(place, without_weights, words, match):
    with contextlib.chdir(place), pytest.raises(TrimtabError, match=match):
        run("preference", "--data", "pairs.jsonl", "--reward", "q", *words)


def test_bad_values_of_judges_are_refused(place, tmp_path):
    words = ["judges", "--data", place / "labelled.jsonl", "--judge"]
    for more, match in (
        (["vader", "--limit", "0"], "got --limit 0"),
        (["vader", "--label-range", "2", "1"], "got --label-range 2 1"),
        (["vadr"], "mean 'vader'"),
        (["vader", "--task", "x"], "task"),
    ):
        with pytest.raises(TrimtabError, match=match):
            run(*words, *more)
    (tmp_path / "judges.json").write_text("{", encoding="utf-8")
    with pytest.raises(InvalidData, match=r"judges\.json"):
        run(*words, "vader", "--out", tmp_path)
