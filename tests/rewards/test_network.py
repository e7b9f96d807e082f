"""A trunk and a head as one module."""

import pytest
import torch

from tiny import tiny_lm, tiny_reward
from trimtab.rewards.network import is_reward_tensor, reward_tensors

TEXT = [10, 20, 30, 40]


@pytest.mark.parametrize(("trunk", "dropout"), [("frozen", False), ("ladder", False), ("lora", True)])
def test_dropout_is_on_in_a_trained_trunk_alone(trunk, dropout):
    reward = tiny_reward(tiny_lm("gpt2"), "q", trunk, layers=3)
    for name, weight in reward.network.named_parameters():
        weight.requires_grad_(is_reward_tensor(name, trunk))
    assert reward.network.train().head.training
    assert reward.network.trunk.training == dropout
    assert not reward.network.eval().head.training


@torch.inference_mode()
def test_a_q_head_scores_each_token_from_the_state_before_it(llama):
    network = tiny_reward(llama, "q", trunk="frozen", layers=3).network
    states = llama.body(torch.tensor([[1, *TEXT]])).last_hidden_state[0]
    scored = network(torch.tensor([TEXT]), torch.ones(1, 4, dtype=torch.bool))
    for place, token in enumerate(TEXT):
        expected = network.head(states[place : place + 1], torch.tensor([[token]]))[0, 0]
        assert torch.allclose(scored.values[0, place], expected, atol=1e-5)
    assert torch.allclose(scored.before[0], states[:-1], atol=1e-5)
    assert scored.known.all()


@torch.inference_mode()
def test_a_v_head_scores_each_token_from_its_own_state(llama):
    network = tiny_reward(llama, "v", trunk="frozen", layers=3).network
    states = llama.body(torch.tensor([[1, *TEXT]])).last_hidden_state[0, 1:]
    scored = network(torch.tensor([TEXT]), torch.ones(1, 4, dtype=torch.bool))
    value = network.head.value
    expected = states.double() @ value.weight.double().T + value.bias.double()
    assert torch.allclose(scored.values[0].double(), expected, atol=1e-5)
    assert scored.known.all()


@pytest.mark.parametrize(("head", "first"), [("q", False), ("v", True)])
def test_without_bos_only_a_v_head_scores_the_first_token(llama, head, first):
    network = tiny_reward(llama, head, bos_token_id=None).network
    known = network(torch.tensor([[0, 10, 20]]), torch.tensor([[False, True, True]])).known
    assert known.tolist() == [[False, first, True]]


@pytest.mark.parametrize("head", ["q", "v"])
def test_reward_tensors_are_head_and_adapters_or_the_whole_trunk(llama, head):
    for trunk in ("frozen", "lora", "full"):
        network = tiny_reward(llama, head, trunk).network
        parts = {name.split(".")[0] + (".lora" if "lora_" in name else "") for name in reward_tensors(network, trunk)}
        assert parts == {"frozen": {"head"}, "lora": {"head", "trunk.lora"}, "full": {"head", "trunk"}}[trunk]
    names = {
        "q": {"up", "down", "embedding_scale", "baseline.weight", "baseline.bias"},
        "v": {"value.weight", "value.bias"},
    }
    assert reward_tensors(tiny_reward(llama, head, "frozen").network, "frozen").keys() == {
        f"head.{n}" for n in names[head]
    }
