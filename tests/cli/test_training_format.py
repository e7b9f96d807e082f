"""The number format in which the commands that train load the language model."""

import json

import pytest
import torch

from trimtab.errors import InvalidSetting


@pytest.fixture
def loaded(monkeypatch):
    """The formats in which a model was to be loaded; none is."""
    dtypes = []

    def load(*_, dtype, **__):
        dtypes.append(dtype)
        raise InvalidSetting("no model is loaded here")

    monkeypatch.setattr("trimtab.models.loading.load_frozen_lm", load)
    return dtypes


@pytest.fixture
def commands(place, tmp_path):
    """The words of each command that trains."""
    texts = ["--data", place / "train.csv", "--text-column", "sentence"]
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("\n".join(json.dumps({"prompt": f"w{n} w{n + 1}"}) for n in range(24)), encoding="utf-8")
    small, out = ["--max-tokens", 6, "--rank", 4], ["--out", tmp_path / "out"]
    return {
        "labels": ["train", "labels", *texts, "--attribute", "good", "--base", place / "lm", *small, *out],
        "draft": ["train", "draft", "--data", prompts, "--base", place / "lm", "--max-tokens", 16, *out],
        "adapt": ["adapt", "--classifier", "profanity", *texts, "--model", place / "lm", "--tokens", 8, *out],
    }


@pytest.mark.parametrize("command", ["labels", "draft", "adapt"])
@pytest.mark.parametrize(("words", "dtype"), [([], torch.bfloat16), (["--no-bf16"], torch.float32)])
def test_a_command_that_trains_loads_the_model_in_the_format_of_training(
    trimtab, commands, loaded, command, words, dtype
):
    done = trimtab(*commands[command], *words, check=False)
    assert "no model is loaded here" in done.stderr
    assert loaded == [dtype]
