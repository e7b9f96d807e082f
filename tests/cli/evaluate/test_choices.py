"""`trimtab evaluate choices`."""

import json

import pytest

from evaluate_runs import run
from trimtab.errors import TrimtabError


def test_choices_compare_steers(place, tmp_path):
    rows = [{"prompt": f"w{n} w{n + 1}", "choices": [" w1", " w2"], "answer": n % 2} for n in range(5)]
    (tmp_path / "asked.jsonl").write_text("\n".join(map(json.dumps, [*rows, {"prompt": "w1"}])), encoding="utf-8")
    words = [
        "choices",
        "--data",
        tmp_path / "asked.jsonl",
        "--model",
        place / "lm",
        "--steer",
        f"{place / 'q'}:kind=+0",
    ]
    printed = run(*words, "--steer", f"{place / 'q'}:kind=+50", "--out", tmp_path / "found.json")
    assert "1 row skipped" in printed
    written = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    unsteered, nothing, strong = written["figures"].values()
    assert unsteered["accuracy"] == nothing["accuracy"]
    assert 0 <= strong["accuracy"]["value"] <= 1
    assert unsteered["chance"]["value"] == 0.5
    assert written["made_by"]["data"]["questions"] == 5
    assert [of[0]["beta"] for of in written["made_by"]["steer"].values()] == [0.0, 50.0]


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--limit", "0"], "got --limit 0"),
        (["--top-k", "-1"], "got --top-k -1"),
        (["--top-k", "65"], "--top-k 65, expected at most the vocabulary size, 64"),
        (["--steer", "nowhere=1"], "nowhere"),
        (["--steer", "q"], "expected NAME"),
        (["--data", "nowhere.jsonl"], "nowhere"),
    ],
)
def test_bad_values_of_choices_are_refused_before_weights_load(place, tmp_path, without_weights, words, match):
    (tmp_path / "asked.jsonl").write_text(json.dumps({"prompt": "w1", "choices": ["a", "b"], "answer": 0}))
    with pytest.raises(TrimtabError, match=match):
        run("choices", "--model", place / "lm", "--data", tmp_path / "asked.jsonl", *words)
