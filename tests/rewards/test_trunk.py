"""Trunks: shared tensors, and BOS before every text."""

import pytest
import torch

from tiny import tiny_reward
from trimtab import errors
from trimtab.rewards.trunk import PrefixEncoder


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


def test_more_layers_than_the_base_has_are_refused(llama):
    with pytest.raises(errors.InvalidSetting, match="got layers=4, expected at most the 3"):
        tiny_reward(llama, "q", layers=4)
