"""The base of a reward on a local model: both folders can move together."""

import shutil

import pytest

from tiny import tiny_lm, tiny_reward
from trimtab.rewards.base_path import find_base, recorded_base
from trimtab.rewards.registry import load_reward


def test_a_local_base_is_recorded_relative_to_the_reward(tmp_path, monkeypatch):
    (tmp_path / "models" / "lm").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "models")
    for name in ("lm", "./lm", str(tmp_path / "models" / "lm")):
        assert recorded_base(name, tmp_path / "rewards" / "kind") == "../../models/lm"
    assert recorded_base("smollm2", tmp_path) == "smollm2"
    assert recorded_base("org/model", tmp_path) == "org/model"


def test_a_base_is_found_beside_its_reward_or_by_its_name(tmp_path):
    for name in ("lm", "kind"):
        (tmp_path / name).mkdir()
    assert find_base("../lm", tmp_path / "kind") == str(tmp_path / "kind" / "../lm")
    for name in ("../other", "smollm2", "org/model", str(tmp_path / "lm")):
        assert find_base(name, tmp_path / "kind") == name


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_reward_on_a_local_model_loads_from_another_folder(tmp_path, monkeypatch):
    lm = tiny_lm("llama")
    lm.model.save_pretrained(tmp_path / "here" / "lm")
    lm.tokenizer.save_pretrained(tmp_path / "here" / "lm")
    base = recorded_base(str(tmp_path / "here" / "lm"), tmp_path / "here" / "kind")
    tiny_reward(lm, "v", base=base).save_pretrained(tmp_path / "here" / "kind")
    shutil.move(tmp_path / "here", tmp_path / "there")
    monkeypatch.chdir("/")
    assert load_reward(str(tmp_path / "there" / "kind")).attributes == ("kind", "calm")
