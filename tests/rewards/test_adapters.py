"""Adapters beside linear maps, and merged into them."""

import copy

import pytest
import torch
from peft.tuners.lora import LoraLayer

from tiny import tiny_lm, tiny_reward
from trimtab import errors, testing
from trimtab.models.layers import share_first_layers
from trimtab.rewards.adapters import QuickAdapter, linear_names, merge_adapters, merging_pays, quick_adapters
from trimtab.rewards.registry import load_reward
from trimtab.rewards.reward_model import RewardModel

TEXTS = ["w1 w2 w3 w4 w5 w6 w7", "w8", "w9 w10 w11"]
PROMPT = [10, 20, 30, 40, 11, 21, 31]
CANDIDATES = [5, 17, 29, 41, 53]


def test_adapters_are_put_into_every_linear_map_of_the_layers(llama):
    names = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert set(linear_names(llama.body)) == names
    weights = dict(tiny_reward(llama, "q", layers=1).network.trunk.named_parameters())
    assert {name.split(".")[-4] for name in weights if "lora_A" in name} == names


def test_merged_adapters_change_no_score_and_no_weight_of_the_base(frozen, head, tmp_path):
    before = {name: weight.clone() for name, weight in frozen.model.state_dict().items()}
    reward = tiny_reward(frozen, head)
    merged = reward.merged()
    assert not any("lora" in name for name in merged.network.state_dict())
    assert merged.merged() is merged
    for found, expected in zip(merged.score_prefixes(TEXTS), reward.score_prefixes(TEXTS), strict=True):
        assert torch.allclose(found, expected, atol=testing.TOLERANCE)
    testing.assert_cached_equals_recomputed(merged, PROMPT, [5, 44, 29, 6], CANDIDATES)
    testing.assert_save_load_identical(merged, frozen, PROMPT, tmp_path / "merged")
    assert all(torch.equal(weight, before[name]) for name, weight in frozen.model.state_dict().items())


def in_double(trunk):
    """A copy of a trunk in float64."""
    return copy.deepcopy(trunk).double()


def hidden(reward, trunk):
    """The states of TEXTS in a trunk, without padding."""
    batch = reward.base.batch([reward.encode(text) for text in TEXTS])
    encoder = reward.network.encoder
    ids, mask = encoder.with_bos(batch.ids, batch.mask)
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    return trunk(input_ids=ids, attention_mask=mask, position_ids=positions).last_hidden_state[mask]


def first_rewards(reward):
    """The rewards of some candidates behind PROMPT, as steering computes them."""
    state = reward.start()
    state.prefill(torch.tensor([PROMPT]), torch.ones(1, len(PROMPT), dtype=torch.bool))
    return state.rewards(torch.tensor([[5, 17, 29]]))


@torch.no_grad()
def test_merged_and_quick_adapters_equal_those_of_peft_to_the_rounding_of_float64(frozen):
    """peft's own forward, which adds the adapters' output to the layer's, is the reference."""
    reward = tiny_reward(frozen, "q")
    trunk = in_double(reward.network.trunk)
    expected = hidden(reward, trunk)
    assert expected.dtype == torch.float64
    for found in (hidden(reward, merge_adapters(trunk)), hidden(reward, quick_adapters(trunk))):
        assert (found - expected).abs().max() < 1e-12 * expected.abs().max()
    bare = hidden(reward, in_double(share_first_layers(frozen.body, reward.card.layers)))
    assert (bare - expected).abs().max() > 1e-2 * expected.abs().max(), "the adapters do something"


@torch.no_grad()
def test_all_adapters_in_float32_are_as_near_to_float64(frozen):
    reward = tiny_reward(frozen, "q")
    expected = hidden(reward, in_double(reward.network.trunk))
    trained = reward.network.trunk
    for trunk in (trained, merge_adapters(trained), quick_adapters(trained)):
        assert (hidden(reward, trunk) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_steering_runs_merged_adapters_and_scoring_those_apart(frozen, head):
    reward = tiny_reward(frozen, head)
    before = {name: weight.clone() for name, weight in reward.network.state_dict().items()}
    state = reward.start()
    state.prefill(torch.tensor([PROMPT]), torch.ones(1, len(PROMPT), dtype=torch.bool))
    assert state._encoder is reward.prefix_encoder is reward.prefix_encoder
    assert not any("lora_" in name for name, _ in reward.prefix_encoder.trunk.named_parameters())
    after = reward.network.state_dict()
    assert any("lora_" in name for name in after)
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())


def test_merging_copies_the_linear_maps_of_the_layers_alone(frozen):
    reward = tiny_reward(frozen, "q")
    shared = {weight.data_ptr() for weight in frozen.model.parameters()}
    merged = reward.prefix_encoder.trunk.named_parameters()
    own = {name.split(".")[-2] for name, weight in merged if weight.data_ptr() not in shared}
    assert own == set(linear_names(reward.prefix_encoder.trunk))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("fits", [True, False])
def test_merging_can_be_refused_or_asked_for(monkeypatch, dtype, fits):
    lm = tiny_lm("llama")
    lm.model.to(dtype)
    reward = tiny_reward(lm, "q")
    layers = [part.get_base_layer().weight for part in reward.network.trunk.modules() if isinstance(part, LoraLayer)]
    monkeypatch.setattr("trimtab.rewards.adapters.MOST_MERGED", sum(each.nbytes for each in layers) - (not fits))
    assert merging_pays(reward.network.trunk) is fits
    for choice, merges in ((None, fits), (True, True), (False, False)):
        chosen = RewardModel(reward.network, reward.card, lm, merge_adapters=choice)
        quick = [part for part in chosen.prefix_encoder.trunk.modules() if isinstance(part, QuickAdapter)]
        assert (not quick) is merges


def test_weights_of_several_kinds_are_not_merged(llama):
    trunk = tiny_reward(llama, "q").network.trunk
    assert merging_pays(trunk)
    first = next(part for part in trunk.modules() if isinstance(part, LoraLayer)).get_base_layer()
    first.weight = torch.nn.Parameter(first.weight.bfloat16())
    assert not merging_pays(trunk)


@pytest.mark.parametrize("trunk", ["frozen", "full"])
def test_a_trunk_without_adapters_runs_as_it_is(frozen, trunk):
    reward = tiny_reward(frozen, "q", trunk)
    assert reward.prefix_encoder.trunk is reward.network.trunk


def test_merged_weights_in_16_bits_are_rounded_once():
    """The reference: the sum in float64, rounded."""
    lm = tiny_lm("llama")
    lm.model.bfloat16()
    trunk = tiny_reward(lm, "q").network.trunk
    layer = trunk.layers[0].self_attn.q_proj
    down, up = layer.lora_A["default"].weight.double(), layer.lora_B["default"].weight.double()
    expected = layer.base_layer.weight.double() + layer.scaling["default"] * up @ down
    found = merge_adapters(trunk).layers[0].self_attn.q_proj.weight
    assert found.dtype == torch.bfloat16
    assert (found.double() - expected).abs().le(2**-8 * expected.abs() + 1e-12).all()


def test_merging_in_inference_mode_gives_ordinary_tensors(llama):
    reward = tiny_reward(llama, "q")
    with torch.inference_mode():
        trunk = reward.prefix_encoder.trunk
    assert not any(weight.is_inference() for weight in trunk.parameters())


@torch.no_grad()
def test_a_loaded_reward_steers_by_the_bits_of_the_saved_one(frozen, head, tmp_path):
    reward = tiny_reward(frozen, head)
    reward.save_pretrained(tmp_path / "reward")
    for choice in (True, False):
        loaded = load_reward(tmp_path / "reward", frozen, choice)
        saved = RewardModel(reward.network, reward.card, frozen, merge_adapters=choice)
        assert loaded.fingerprint == saved.fingerprint
        assert torch.equal(first_rewards(loaded), first_rewards(saved))


def test_quick_adapters_share_every_tensor_and_keep_the_laws(frozen, head):
    trained = tiny_reward(frozen, head)
    reward = RewardModel(trained.network, trained.card, frozen, merge_adapters=False)
    shared = {weight.data_ptr() for weight in reward.network.trunk.parameters()}
    assert {weight.data_ptr() for weight in reward.prefix_encoder.trunk.parameters()} <= shared
    testing.assert_cached_equals_recomputed(reward, PROMPT, [5, 44, 29, 6], CANDIDATES)
    testing.assert_rollback_replays(reward, PROMPT, [5, 44], [9, 8], CANDIDATES)
    testing.assert_batched_equals_single(reward, [PROMPT, PROMPT[:2]], CANDIDATES)


def test_adapters_apart_run_in_the_format_of_their_model(llama):
    """Training keeps them in float32, also beside a model in bfloat16."""
    lm = tiny_lm("llama")
    lm.model.to(torch.bfloat16)
    reward = tiny_reward(lm, "q")
    for name, weight in reward.network.named_parameters():
        if "lora_" in name:
            weight.data = weight.data.float()
    apart = RewardModel(reward.network, reward.card, lm, merge_adapters=False)
    ids = torch.tensor([lm.codec.encode_text("w1 w2 w3")])
    mask = torch.ones_like(ids, dtype=torch.bool)
    found, by_peft = (encoder.encode(ids, mask).hidden for encoder in (apart.prefix_encoder, reward.network.encoder))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), by_peft.float(), atol=0.1, rtol=0.05)


def test_adapters_on_packed_weights_are_not_merged(llama):
    reward = tiny_reward(llama, "q")
    for part in reward.network.trunk.modules():
        if isinstance(part, LoraLayer):
            packed = part.get_base_layer().weight.detach().to(torch.int8)
            part.get_base_layer().weight = torch.nn.Parameter(packed, requires_grad=False)
    with pytest.raises(errors.InvalidSetting, match="packed weights"):
        reward.merged()
