"""A folder with a tiny language model, rewards and data, and the folder of a finished comparison."""

import json
import shutil

import pytest

from evaluate_runs import sentiment
from tiny import save_lm, tiny_lm, tiny_reward
from tiny_chat import TEMPLATE


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model, the same with a chat template, three rewards, prompts, preferences and labelled texts."""
    folder = tmp_path_factory.mktemp("place")
    lm = tiny_lm("llama", seed=3)
    save_lm(lm, folder / "lm")
    shutil.copytree(folder / "lm", folder / "chat")
    (folder / "chat" / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    card = {"base": str(folder / "lm"), "base_fingerprint": lm.base_fingerprint}
    for head in ("q", "v"):
        tiny_reward(lm, head, **card, attributes=("kind",)).save_pretrained(folder / head)
    tiny_reward(lm, "q", **card, attributes=("kind", "calm")).save_pretrained(folder / "both")
    prompts = [{"prompt": "w1 w2"}, {"prompt": ""}, {"prompt": "w3"}, {"text": "none"}, {"prompt": "w4 w5 w6"}]
    pairs = [{"chosen": "w1 w2", "rejected": "w3"}, {"chosen": "w4", "rejected": "w5 w6"}, {"chosen": 3}]
    labelled = [{"text": "What a lovely day", "label": 1}, {"text": "Awful, horrible", "label": 0}]
    for name, rows in (("some", prompts), ("pairs", pairs), ("labelled", labelled)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def finished(place, tmp_path_factory):
    """The folder of a comparison with all kinds of methods, and what the command printed."""
    out = tmp_path_factory.mktemp("finished") / "run"
    rewards = ["--reward", place / "q", "--reward", f"{place / 'both'}:calm+{place / 'v'}"]
    return out, sentiment(place, out, *rewards, "--beta", "2", "--best-of", "2", "--rounds", "1")


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished[0], tmp_path / "run")


@pytest.fixture
def without_weights(monkeypatch, tmp_path):
    """No weights load, and nothing is downloaded."""

    def refuse(*given, **named):
        raise AssertionError("weights were loaded")

    for name in ("trimtab.cli.sweep_command.load_language_model", "trimtab.models.loading.load_frozen_lm"):
        monkeypatch.setattr(name, refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
