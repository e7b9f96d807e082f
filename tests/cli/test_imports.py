"""`trimtab import`."""

import torch

from tiny import tiny_lm
from trimtab.rewards.convert_rad import HEAD


def test_a_released_rad_checkpoint_becomes_a_reward(trimtab, tmp_path):
    lm = tiny_lm("gpt2")
    lm.model.save_pretrained(tmp_path / "gpt2")
    lm.tokenizer.save_pretrained(tmp_path / "gpt2")
    state = {f"model.{name}": weight for name, weight in lm.model.state_dict().items() if not name.startswith(HEAD)}
    state |= {"model.lm_head.weight": torch.zeros(2, 32), "model.lm_head.bias": torch.tensor([0.25, 0.75])}
    torch.save(state, tmp_path / "rad.pt")
    base = ["--attributes", "a, b", "--base", tmp_path / "gpt2"]
    trimtab("import", "rad", tmp_path / "rad.pt", *base, "--out", tmp_path / "ab")
    scored = trimtab("score", "--reward", tmp_path / "ab", "--text", "w1 w2").stdout
    assert scored.startswith("a=0.2500 b=0.7500")
