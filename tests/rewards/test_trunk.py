"""Trunks: shared tensors, adapters, and BOS before every text."""

import pytest
import torch

from tiny import tiny_reward
from trimtab import errors, testing
from trimtab.rewards.trunk import PrefixEncoder, linear_names

TEXTS = ["w1 w2 w3 w4 w5 w6 w7", "w8", "w9 w10 w11"]
PROMPT = [10, 20, 30, 40, 11, 21, 31]


def opened(lm, rows, bos):
    """What `with_bos` leaves of left-padded rows, as lists without padding."""
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[False] * (width - len(row)) + [True] * len(row) for row in rows])
    ids, mask = PrefixEncoder(lm.body, bos).with_bos(ids, mask)
    return [row[seen].tolist() for row, seen in zip(ids, mask, strict=True)]


def test_bos_is_put_before_rows_that_do_not_start_with_it(llama):
    assert opened(llama, [[5, 6, 7], [8], [1, 9], []], bos=1) == [[1, 5, 6, 7], [1, 8], [1, 9], [1]]
    assert opened(llama, [[5, 6, 7], [8]], bos=None) == [[5, 6, 7], [8]]


@pytest.mark.parametrize(("trunk", "shares"), [("frozen", True), ("lora", True), ("full", False)])
def test_a_trunk_that_is_not_trained_as_a_whole_shares_the_tensors_of_its_base(frozen, trunk, shares):
    network = tiny_reward(frozen, "q", trunk).network
    base = {weight.data_ptr() for weight in frozen.model.parameters()}
    own = [weight for name, weight in network.trunk.named_parameters() if "lora_" not in name]
    assert all((weight.data_ptr() in base) == shares for weight in own)


def test_adapters_are_put_into_every_linear_map_of_the_layers(llama):
    names = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert set(linear_names(llama.body)) == names
    weights = dict(tiny_reward(llama, "q", layers=1).network.trunk.named_parameters())
    assert {name.split(".")[-4] for name in weights if "lora_A" in name} == names


def test_more_layers_than_the_base_has_are_refused(llama):
    with pytest.raises(errors.InvalidSetting, match="got layers=4, expected at most the 3"):
        tiny_reward(llama, "q", layers=4)


def test_merged_adapters_change_no_score_and_no_weight_of_the_base(frozen, head, tmp_path):
    before = {name: weight.clone() for name, weight in frozen.model.state_dict().items()}
    reward = tiny_reward(frozen, head)
    merged = reward.merged()
    assert not any("lora" in name for name in merged.network.state_dict())
    assert merged.merged() is merged
    for found, expected in zip(merged.score_prefixes(TEXTS), reward.score_prefixes(TEXTS), strict=True):
        assert torch.allclose(found, expected, atol=testing.TOLERANCE)
    testing.assert_cached_equals_recomputed(merged, PROMPT, [5, 44, 29, 6], [5, 17, 29, 41, 53])
    testing.assert_save_load_identical(merged, frozen, PROMPT, tmp_path / "merged")
    assert all(torch.equal(weight, before[name]) for name, weight in frozen.model.state_dict().items())
