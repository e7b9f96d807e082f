"""`trimtab train draft`, and the commands that draft by what it made."""

import json

import pytest

from trimtab.drafts.card import read_draft_card

SMALL = ["--tokens", 50, "--taps", 2, "--width", 16, "--heads", 2, "--steps", 2, "--top-k", 6, "--new-tokens", 8]
QUICK = [*SMALL, "--max-tokens", 16, "--epochs", 1, "--checkpoints", 1, "--no-bf16"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Prompts, texts and a row that is neither."""
    path = tmp_path_factory.mktemp("prompts") / "data.jsonl"
    rows = [{"prompt": f"w{n} w{n + 1}"} for n in range(24)] + [{"text": f"w{n} w3 w{n}"} for n in range(6)]
    path.write_text("\n".join(map(json.dumps, [*rows, {"label": 1}])) + "\n")
    return path


@pytest.fixture
def head(trimtab, place, data, tmp_path):
    """The folder of a trained head."""
    done = trimtab("train", "draft", "--base", place / "lm", "--data", data, *QUICK, "--out", tmp_path / "head")
    assert "1 row skipped: line 31: expected an object" in done.stderr
    assert "acceptance 1" in done.stderr
    return tmp_path / "head"


def test_a_trained_head_drafts_on_the_command_line(trimtab, place, head, data):
    card = read_draft_card(head)
    assert (card.tokens, card.width, card.provenance["settings"]["steps"]) == (50, 16, 2)
    assert card.provenance["command"].startswith("trimtab train draft --base lm --data data.jsonl")
    again = trimtab("train", "draft", "--base", place / "lm", "--data", data, *QUICK, "--out", head)
    assert "this run is finished" in again.stderr
    asked = ["generate", "w1 w2", "--model", place / "lm", "--seed", 0, "--json"]
    plain = json.loads(trimtab(*asked).stdout)
    found = json.loads(trimtab(*asked, "--draft", head, "--speculate", "draft").stdout)
    assert found["text"] == plain["text"]
    assert found["usage"]["tokens"] == len(plain["token_ids"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["generate", "w1", "--speculate", "magic"], "got --speculate 'magic', expected lookup or draft"),
        (["generate", "w1", "--draft", "x"], "got --draft, expected --speculate draft with it"),
        (["rewind", "w1", "--speculate", "magic"], "got --speculate 'magic', expected lookup or draft"),
        (["train", "draft", "--out", "x", "--width", 10, "--heads", 3], "multiple of"),
        (["train", "draft", "--out", "x", "--max-tokens", 16, "--data", "nothing.jsonl"], "there is no such file"),
        (["train", "draft", "--out", "x", "--run", "x/run"], "outside"),
        (["train", "draft", "--out", "x", "--max-tokens", 16, "--data", "d", "--texts", 9], "--texts 9 with --data"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_weights_load(trimtab, place, words, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("trimtab.models.loading.load_frozen_lm", lambda *_, **__: pytest.fail("weights were loaded"))
    model = ["--base" if words[0] == "train" else "--model", place / "lm"]
    done = trimtab(*words, *model, check=False)
    assert done.status != 0
    assert message in done.stderr
    assert not (tmp_path / "x").exists()
