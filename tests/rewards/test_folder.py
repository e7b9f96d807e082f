"""The folder of a saved reward."""

from dataclasses import replace

import torch

from tiny import tiny_reward
from trimtab.rewards.card import read_card
from trimtab.rewards.folder import write_card
from trimtab.rewards.registry import load_reward


def test_a_card_is_replaced_together_with_its_readme(llama, tmp_path):
    reward = tiny_reward(llama, "q")
    reward.save_pretrained(tmp_path / "reward")
    weights = (tmp_path / "reward" / "reward.safetensors").read_bytes()
    write_card(tmp_path / "reward", replace(reward.card, quality={"auc:kind": 0.75}))
    assert read_card(tmp_path / "reward").quality == {"auc:kind": 0.75}
    assert "| auc:kind | 0.75 |" in (tmp_path / "reward" / "README.md").read_text(encoding="utf-8")
    assert (tmp_path / "reward" / "reward.safetensors").read_bytes() == weights
    names = {path.name for path in (tmp_path / "reward").iterdir()}
    assert names == {"config.json", "README.md", "reward.safetensors"}


def test_the_fingerprint_is_of_the_weights_and_survives_saving(llama, tmp_path):
    reward, other = tiny_reward(llama, "v"), tiny_reward(llama, "v", seed=1)
    assert reward.fingerprint != other.fingerprint
    reward.save_pretrained(tmp_path / "reward")
    assert load_reward(str(tmp_path / "reward"), llama).fingerprint == reward.fingerprint


def test_weights_are_rounded_to_the_dtype_of_the_save(llama, tmp_path):
    reward = tiny_reward(llama, "v", trunk="frozen")
    reward.save_pretrained(tmp_path / "reward", torch.bfloat16)
    loaded = load_reward(str(tmp_path / "reward"), llama).network.head.value.weight
    assert torch.equal(loaded, reward.network.head.value.weight.bfloat16().float())
