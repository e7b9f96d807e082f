"""The file of a reward's weights: hashes, damage, numbers that are not finite."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from trimtab import errors
from trimtab.rewards.registry import BUNDLED, bundled_rewards
from trimtab.rewards.weights import first_non_finite, read_sealed, read_weights, save_sealed, save_weights, sha256

TENSORS = {"head.up": torch.arange(6.0).reshape(2, 3), "head.down": torch.ones(3, dtype=torch.bfloat16)}


@pytest.fixture
def saved(tmp_path):
    """Return a file of weights and its hash."""
    path = tmp_path / "reward.safetensors"
    return path, save_weights(TENSORS, path)[1]


def test_weights_are_read_as_they_were_written(saved):
    path, digest = saved
    found = read_weights(path, digest)
    assert found.keys() == TENSORS.keys()
    assert all(found[name].equal(weight) for name, weight in TENSORS.items())
    assert read_weights(path).keys() == TENSORS.keys()


def test_a_save_returns_the_dtypes_and_the_hash_of_the_file(tmp_path):
    dtypes, digest = save_weights(TENSORS, tmp_path / "file")
    assert dtypes == "bfloat16 and float32"
    assert digest == sha256(tmp_path / "file")


@pytest.mark.parametrize("place", [-1, -9, -20])
def test_one_flipped_bit_is_refused_if_the_hash_is_known(saved, place):
    path, digest = saved
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(errors.CorruptReward, match=r"reward\.safetensors.*is damaged.*fetch or train"):
        read_weights(path, digest)
    assert read_weights(path).keys() == TENSORS.keys()  # only the hash tells


@pytest.mark.parametrize("known", [True, False])
def test_a_truncated_or_missing_file_is_refused(saved, known):
    path, digest = saved
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(errors.CorruptReward, match=r"reward\.safetensors"):
        read_weights(path, digest if known else None)
    path.unlink()
    with pytest.raises(errors.CorruptReward, match="cannot read"):
        read_weights(path, digest if known else None)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_refused_with_its_tensor(saved, number):
    path, _ = saved
    damaged = {**TENSORS, "head.up": torch.tensor([[0.0, number]])}
    with pytest.raises(errors.TrainingDiverged, match=r"'head\.up'"):
        save_weights(damaged, path)
    assert read_weights(path)["head.up"].equal(TENSORS["head.up"])  # the older file is kept
    save_file(damaged, path)
    with pytest.raises(errors.CorruptReward, match=r"the tensor 'head\.up' has a number that is not finite"):
        read_weights(path)


def test_the_first_tensor_is_named_in_order_of_names():
    assert first_non_finite(TENSORS) is None
    assert first_non_finite({"b": torch.tensor([torch.nan]), "a": torch.tensor([-torch.inf])}) == "a"


@pytest.mark.parametrize("name", bundled_rewards())
def test_the_weights_of_a_bundled_reward_are_whole_and_finite(name):
    path = BUNDLED / name / "reward.safetensors"
    found = read_weights(path, bundled_rewards()[name].weights_sha256)
    assert found.keys() == load_file(path).keys()


def test_a_sealed_file_with_other_numbers_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_sealed(TENSORS, path)
    found = read_sealed(path)
    assert found.keys() == TENSORS.keys()
    assert all(found[name].equal(TENSORS[name]) for name in TENSORS)
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x80
    path.write_bytes(content)
    with pytest.raises(errors.CorruptReward, match="its numbers do not have the hash that it records"):
        read_sealed(path)
    save_file(TENSORS, path)  # without a hash
    with pytest.raises(errors.CorruptReward, match="hash"):
        read_sealed(path)
