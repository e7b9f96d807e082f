"""`trimtab import`."""

import pytest
import torch

from tiny import save_lm, tiny_lm
from trimtab.rewards.card import read_card
from trimtab.rewards.convert_rad import HEAD


@pytest.fixture
def released(tmp_path):
    """Return a folder with a GPT-2 and a checkpoint in RAD's layout."""
    lm = tiny_lm("gpt2")
    save_lm(lm, tmp_path / "gpt2")
    state = {f"model.{name}": weight for name, weight in lm.model.state_dict().items() if not name.startswith(HEAD)}
    state |= {"model.lm_head.weight": torch.zeros(2, 32), "model.lm_head.bias": torch.tensor([0.25, 0.75])}
    torch.save(state, tmp_path / "rad.pt")
    return tmp_path


def test_a_released_rad_checkpoint_becomes_a_reward(trimtab, released, monkeypatch):
    monkeypatch.chdir(released)
    trimtab("import", "rad", "rad.pt", "--attributes", "a, b", "--base", "./gpt2", "--out", "rewards/ab")
    monkeypatch.chdir("/")
    assert read_card(released / "rewards" / "ab").base == "../../gpt2"
    scored = trimtab("score", "--reward", released / "rewards" / "ab", "--text", "w1 w2").stdout
    assert scored.startswith("a=0.2500 b=0.7500")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--attributes": "a"}, "got 1 attributes for a head of 2 outputs"),
        ({"--attributes": "a,a"}, "different names"),
        ({"--attributes": ""}, "different names"),
        ({"--attributes": "a,b:c"}, "without : and ="),
        ({"--base": "no/such"}, "no/such"),
        ({"--out": "rad.pt"}, "is a file"),
        ({"--out": "rad.pt/below"}, "'rad.pt/below'"),
        ({"--out": "/dev/null"}, "it is a device"),
        ({"file": "none.pt"}, "there is no such file"),
        ({"file": "gpt2"}, "there is no such file"),
        ({"file": "x" * 300}, "there is no such file"),
        ({"file": "gpt2/config.json"}, "as tensors alone"),
    ],
)
def test_what_cannot_be_imported_is_refused_before_the_base_loads(trimtab, released, monkeypatch, change, message):
    monkeypatch.chdir(released)
    monkeypatch.setattr("trimtab.models.loading.load_frozen_lm", lambda *given, **named: pytest.fail("loaded the base"))
    options = {"--attributes": "a,b", "--base": "gpt2", "--out": "ab", **change}
    file = options.pop("file", "rad.pt")
    done = trimtab("import", "rad", file, *(word for option in options.items() for word in option), check=False)
    assert done.status == 1
    assert message in done.stderr
    assert sorted(path.name for path in released.iterdir()) == ["gpt2", "rad.pt"]
