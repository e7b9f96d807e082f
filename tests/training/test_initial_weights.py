"""The weights with which training begins."""

import numpy as np
import pytest
import torch

from families import tiny_config, tiny_model
from tiny import tiny_ladder, tiny_lm, tiny_reward
from trimtab import errors
from trimtab.models.frozen_lm import FrozenLM
from trimtab.training.initial_weights import fit_ladder_scale, prepare_for_training, start_from


@pytest.mark.parametrize("head", ["q", "v"])
def test_every_prefix_starts_at_the_mean_reward(llama, head):
    """The fresh marginal of a Q-head is zero, so the prefix's baseline is its whole reward."""
    reward = tiny_reward(llama, head)
    prepare_for_training(reward.network, "lora", np.array([0.25, 0.75]))
    if head == "q":
        reward.network.head.down.data.zero_()
    found = reward.score("w1 w2 w3")
    assert torch.allclose(found, torch.tensor([[0.25, 0.75]]))


@pytest.mark.parametrize(
    ("trunk", "expected"),
    [("frozen", {"head"}), ("ladder", {"head", "ladder"}), ("lora", {"head", "lora"}), ("full", {"head", "trunk"})],
)
def test_only_the_rewards_own_weights_are_trained_in_float32(trunk, expected):
    network = tiny_reward(tiny_lm("llama"), "q", trunk).network.bfloat16()  # this casts the base too
    prepare_for_training(network, trunk, np.zeros(2))
    kinds = set()
    for name, weight in network.named_parameters():
        assert weight.dtype == (torch.float32 if weight.requires_grad else torch.bfloat16)
        if weight.requires_grad:
            kinds.add("lora" if "lora_" in name else name.split(".")[0])
    assert kinds == expected


@pytest.mark.parametrize(("saved", "fresh"), [("v", "q"), ("q", "v"), ("q", "q"), ("v", "v")])
def test_the_reward_of_a_prefix_is_copied_from_head_to_head(llama, tmp_path, saved, fresh):
    source, target = tiny_reward(llama, saved, seed=1), tiny_reward(llama, fresh, seed=2)
    source.save_pretrained(tmp_path / "reward")
    copied = start_from(target.network, "lora", tmp_path / "reward")
    there, here = source.network.head.prefix_value, target.network.head.prefix_value
    assert torch.equal(there.weight, here.weight)
    assert torch.equal(there.bias, here.bias)
    adapters = [name for name in target.network.state_dict() if "lora_" in name]
    assert all(torch.equal(source.network.state_dict()[n], target.network.state_dict()[n]) for n in adapters)
    of_head = [name for name in source.network.head.state_dict() if name != "embedding_scale"]  # the base's own
    assert copied == len(adapters) + (2 if saved != fresh else len(of_head))


@pytest.mark.parametrize(("attributes", "rank"), [(("one",), 4), (("kind", "calm"), 3)])
def test_a_reward_of_other_shapes_is_refused(llama, tmp_path, attributes, rank):
    """A bias and a scale have the same shapes in any two rewards of one head."""
    narrow = FrozenLM(tiny_model(tiny_config("llama", hidden_size=16)), llama.tokenizer, "narrow")
    source = tiny_reward(narrow, "q", "frozen") if len(attributes) > 1 else tiny_reward(llama, "v", "frozen")
    source.save_pretrained(tmp_path / "reward")
    target = tiny_reward(llama, "q", "frozen", attributes=attributes, rank=rank)
    with pytest.raises(errors.InvalidSetting, match="shares a weight's shape"):
        start_from(target.network, "frozen", tmp_path / "reward")


def test_damaged_weights_are_named(llama, tmp_path):
    reward = tiny_reward(llama, "q")
    reward.save_pretrained(tmp_path / "reward")
    path = tmp_path / "reward" / "reward.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(errors.CorruptReward, match=r"reward\.safetensors"):
        start_from(reward.network, "lora", tmp_path / "reward")


def test_the_scale_of_a_ladder_gives_every_feature_the_same_spread(llama):
    network = tiny_ladder(llama).network
    ids = torch.tensor([[0, 0, 10, 20, 30], [11, 21, 31, 41, 51]])
    fit_ladder_scale(network, {"ids": ids, "mask": ids > 0}, bf16=False)
    for place, tap in enumerate(network.ladder.taps):
        hidden = [
            llama.body(torch.tensor([text])[:, text.count(0) :], output_hidden_states=True).hidden_states[tap][0]
            for text in ids.tolist()
        ]
        states = torch.cat(hidden).double()
        normed = (states - states.mean(1, keepdim=True)) / states.var(1, unbiased=False, keepdim=True).sqrt()
        expected = 1 / (normed.std(0) + 1e-3)
        assert torch.allclose(network.ladder.scale[place, 0].double(), expected, rtol=1e-3)


def test_a_network_without_a_ladder_has_no_scale_to_fit(llama):
    network = tiny_reward(llama, "q").network
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    fit_ladder_scale(network, {}, bf16=False)
    assert all(torch.equal(before[name], weight) for name, weight in network.state_dict().items())
