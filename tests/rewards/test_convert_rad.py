"""Files in the layout of RAD's released checkpoints, scored against plain transformers."""

import pickle

import pytest
import torch
from torch import nn
from transformers import GPT2LMHeadModel

from tiny import tiny_lm
from trimtab import errors
from trimtab.rewards.convert_rad import convert_rad, read_rad
from trimtab.rewards.registry import load_reward

NAMES = ("toxicity", "severe_toxicity", "obscene", "identity_attack", "insult", "threat", "sexual_explicit")


class ReleasedLayout(nn.Module):
    """A reward model as RAD's code stores it: `model` is a GPT-2 whose LM head is a linear map to the attributes."""

    def __init__(self, base, outputs):
        super().__init__()
        torch.manual_seed(1)
        self.model = GPT2LMHeadModel(base.model.config)
        self.model.lm_head = nn.Linear(32, outputs)


@pytest.fixture(scope="module")
def gpt2():
    return tiny_lm("gpt2")


@pytest.mark.parametrize("outputs", [1, 7])
def test_a_released_checkpoint_scores_as_plain_transformers_does(gpt2, outputs, tmp_path):
    released = ReleasedLayout(gpt2, outputs).eval()
    state = released.state_dict()
    state["model.transformer.h.0.attn.bias"] = torch.ones(1, 1, 64, 64)  # old transformers saved its causal masks
    state["model.transformer.h.0.attn.masked_bias"] = torch.tensor(-1e4)
    torch.save(state, tmp_path / "pytorch_model.bin")
    reward = convert_rad(tmp_path / "pytorch_model.bin", gpt2, NAMES[:outputs])
    ids = torch.tensor([[10, 20, 30, 40]])
    hidden = released.model.transformer(ids).last_hidden_state
    expected = released.model.lm_head(hidden)[0]
    found = reward.score_prefixes("w6 w16 w26 w36")[0]
    assert torch.allclose(found, expected, atol=1e-5)
    reward.save_pretrained(tmp_path / "reward")
    again = load_reward(str(tmp_path / "reward"), gpt2)
    assert torch.equal(again.score_prefixes("w6 w16 w26 w36")[0], found)
    assert again.attributes == NAMES[:outputs]
    assert (again.card.head, again.card.trunk, again.card.bos_token_id) == ("v", "full", None)


def test_a_file_that_does_not_fit_is_refused_with_the_reason(gpt2, tmp_path):
    path = tmp_path / "rad.pt"
    torch.save(ReleasedLayout(gpt2, 7).state_dict(), path)
    with pytest.raises(errors.InvalidSetting, match="2 attributes for a head of 7"):
        convert_rad(path, gpt2, ["a", "b"])
    with pytest.raises(errors.InvalidData, match="does not fit tiny-llama"):
        convert_rad(path, tiny_lm("llama"), NAMES)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(errors.InvalidData, match="as tensors alone"):
        convert_rad(path, gpt2, NAMES)
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(errors.InvalidData, match=r"lm_head\.weight"):
        convert_rad(path, gpt2, NAMES)
    torch.save(ReleasedLayout(gpt2, 7).state_dict() | {"model.lm_head.bias": torch.full((7,), torch.nan)}, path)
    with pytest.raises(errors.InvalidData, match=r"'head\.value\.bias' has a number that is not finite"):
        convert_rad(path, gpt2, NAMES)
    torch.save({1: torch.zeros(3)}, path)
    with pytest.raises(errors.InvalidData, match="expected a state dict"):
        convert_rad(path, gpt2, NAMES)
    torch.save([torch.zeros(3)], path)
    with pytest.raises(errors.InvalidData, match="expected a state dict"):
        convert_rad(path, gpt2, NAMES)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + b"x" * 40, b"\x80\x02" + b"}q\x00", b"text", b"\x80\x02."])
def test_any_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "rad.pt"
    path.write_bytes(content)
    with pytest.raises(errors.InvalidData, match="cannot read"):
        read_rad(path, ["a"])


def test_a_missing_file_is_refused_with_the_systems_reason(tmp_path):
    with pytest.raises(errors.InvalidData, match="No such file"):
        read_rad(tmp_path / "none.pt", ["a"])


@pytest.mark.parametrize("names", [[], ["a", "a"], ["a", ""]])
def test_attributes_need_different_names(tmp_path, names):
    with pytest.raises(errors.InvalidSetting, match="one or more different names"):
        read_rad(tmp_path / "none.pt", names)


class Payload:
    def __reduce__(self):
        return (open, ("/tmp/should-not-exist", "w"))


def test_code_in_a_pickle_is_not_run(gpt2, tmp_path):
    path = tmp_path / "evil.bin"
    path.write_bytes(pickle.dumps({"model.lm_head.weight": Payload()}, protocol=2))
    with pytest.raises(errors.InvalidData, match="as tensors alone"):
        convert_rad(path, gpt2, ["a"])
