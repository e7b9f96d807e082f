"""`trimtab evaluate … --chat`."""

import contextlib
import json

import pytest

import trimtab
from evaluate_runs import QUICK, report_of, run
from trimtab.errors import InvalidData, InvalidSetting

CHAT_BY_TASK = {
    "toxicity": ["--prompts", "some.jsonl"],
    "sentiment": ["--up", "some.jsonl"],
    "prompts": ["--up", "some.jsonl", "--judge", "vader"],
}


@pytest.mark.parametrize("task", CHAT_BY_TASK)
def test_a_task_sends_its_prompts_as_messages(place, tmp_path, task):
    words = [*QUICK, "--reward", "q", "--beta", "2", "--rounds", "1", "--chat", "--judge", "profanity"]
    with contextlib.chdir(place):
        printed = run(task, *CHAT_BY_TASK[task], "--model", "chat", *words, "--out", tmp_path / "run")
        again = run("report", tmp_path / "run", "--perplexity", "chat")
    lm = trimtab.load(place / "chat")
    expected = lm.generate([[{"role": "user", "content": "w1 w2"}]], n=2, max_new_tokens=3, top_k=5, seed=0)
    (path,) = (tmp_path / "run").glob("*--top-k=0.jsonl")
    texts = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[1:3]]
    assert [text["text"] for text in texts] == [each.text for each in expected[0].samples]
    assert {text["prompt"] for text in texts} == {"w1 w2"}
    assert "3 rows" in printed
    assert "3 rows" in again
    assert all(
        row["time"]["ratio"] > 0 and "perplexity:chat" in row["figures"] for row in report_of(tmp_path / "run")["rows"]
    )
    assert "Chat: each prompt is one user message" in (tmp_path / "run" / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "model"),
    [
        (["--model", "lm", "--chat"], "lm"),
        (["--model", "lm", "--system", "w1"], "lm"),
        (["--model", "chat", "--chat", "--perplexity", "lm"], "lm"),
        (["--model", "chat", "--chat", "--profile", "v"], "lm"),
    ],
)
def test_models_without_a_chat_template_are_refused_before_weights_load(place, tmp_path, without_weights, words, model):
    with contextlib.chdir(place), pytest.raises(InvalidSetting, match=f"{model} has no chat template"):
        run("sentiment", "--up", "some.jsonl", *words, *QUICK, "--judge", "vader", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_comparison_of_plain_prompts_does_not_resume_as_a_chat(place, tmp_path):
    words = ["--up", "some.jsonl", *QUICK, "--model", "chat", "--judge", "vader", "--rounds", "0", "--out", tmp_path]
    with contextlib.chdir(place):
        run("sentiment", *words)
        before = {path.name: path.read_bytes() for path in tmp_path.glob("*.jsonl")}
        with pytest.raises(InvalidData, match="chat: False there, True here"):
            run("sentiment", *words, "--chat")
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.jsonl")} == before
