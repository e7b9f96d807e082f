"""What the shell offers."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trimtab.cli.completion import complete_judge, complete_method, complete_model, complete_reward, complete_steer
from trimtab.rewards.registry import BUNDLED


def names(offers):
    return [name for name, _ in offers]


def test_bundled_rewards_are_offered_by_their_beginning():
    assert names(complete_reward("sentiment-")) == ["sentiment-lora", "sentiment-own", "sentiment-rad"]
    assert "sentiment@gemma-3-270m" in names(complete_reward("sent"))
    assert "toxicity" in names(complete_reward(""))
    assert complete_reward("nothing") == []


def test_attributes_are_offered_behind_a_colon():
    assert names(complete_reward("toxicity:")) == ["toxicity:toxic"]
    assert names(complete_reward("toxicity:to")) == ["toxicity:toxic"]
    assert complete_reward("toxicity:x") == []


def test_a_steer_continues_with_its_strength():
    assert "sentiment-rad=" in names(complete_steer("sentiment-"))
    assert complete_steer("sentiment=+2") == []


def test_judges_have_a_sign_or_are_the_model_itself():
    assert {"vader=+1", "vader=-1"} == set(names(complete_judge("va")))
    assert {"toxicity=-1", "toxicity=+1"} <= set(names(complete_judge("tox")))
    questions = names(complete_judge("self"))
    assert questions[0] == "self"
    assert {"self:truthfulness", "self:requests"} <= set(questions)


def test_methods_and_models():
    assert names(complete_method("r")) == ["rad", "rtd"]
    assert names(complete_model("sm")) == ["smollm2"]


def test_folders_with_rewards_and_models_are_offered(tmp_path, monkeypatch):
    shutil.copytree(BUNDLED / "sentiment", tmp_path / "mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / "tiny.gguf").touch()
    monkeypatch.chdir(tmp_path)
    assert names(complete_reward("mi")) == ["mine"]
    assert names(complete_reward("./mi")) == ["./mine"]
    assert names(complete_reward(f"{tmp_path}/")) == [f"{tmp_path}/mine"]
    assert names(complete_reward("mine:")) == ["mine:positive"]
    assert "tiny.gguf" in names(complete_model(""))


@pytest.mark.parametrize("typed", ["\0", "x" * 5000, "~/\0:", ":", "=", "/nowhere/x", "a/b/c:d"])
def test_odd_words_are_no_error(typed):
    for complete in (complete_reward, complete_steer, complete_judge, complete_method, complete_model):
        assert isinstance(complete(typed), list)


def test_a_broken_card_is_no_error(tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{", encoding="utf-8")
    assert complete_reward(f"{tmp_path}/broken:") == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("trimtab score --reward tox", "toxicity"),
        ("trimtab generate x --steer sent", "sentiment="),
        ("trimtab rewind search x --judge self:", "self:requests"),
        ("trimtab generate x --method a", "arm"),
    ],
)
def test_the_command_answers_a_shell(words, expected):
    asked = {"_TRIMTAB_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": words}
    command = Path(sys.executable).with_name("trimtab")
    done = subprocess.run([command], env=os.environ | asked, capture_output=True, text=True, check=False)
    assert "Usage" not in done.stdout
    assert expected in done.stdout.replace("\\", "")
