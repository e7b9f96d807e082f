"""The folder of a saved reward."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from tiny import tiny_lm, tiny_reward
from trimtab import errors
from trimtab.rewards.card import UncheckedReward, read_card
from trimtab.rewards.folder import write_card
from trimtab.rewards.registry import load_reward
from trimtab.rewards.reward_model import RewardModel
from trimtab.rewards.target import check_target
from trimtab.rewards.weights import sha256


def test_a_card_is_replaced_together_with_its_readme(llama, tmp_path):
    reward = tiny_reward(llama, "q")
    reward.save_pretrained(tmp_path / "reward")
    weights = (tmp_path / "reward" / "reward.safetensors").read_bytes()
    write_card(tmp_path / "reward", replace(read_card(tmp_path / "reward"), quality={"auc:kind": 0.75}))
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


def test_a_saved_reward_has_one_fingerprint_in_every_dtype(llama, tmp_path):
    reward = tiny_reward(llama, "q")
    reward.save_pretrained(tmp_path / "reward")
    half = tiny_lm("llama")
    half.model.to(torch.bfloat16)
    loaded = load_reward(str(tmp_path / "reward"), half)
    assert loaded.network.trunk.dtype == torch.bfloat16
    assert loaded.fingerprint == reward.fingerprint
    assert loaded.fingerprint is loaded.fingerprint  # computed once


def test_the_card_of_a_save_has_the_hash_and_the_dtype_of_its_weights(llama, tmp_path):
    reward = tiny_reward(llama, "q")
    for dtype, name in ((None, "float32"), (torch.bfloat16, "bfloat16")):
        reward.save_pretrained(tmp_path / name, dtype)
        card = read_card(tmp_path / name)
        assert (card.weights_dtype, card.weights_sha256) == (name, sha256(tmp_path / name / "reward.safetensors"))
        assert f"| SHA-256 of the weights | {card.weights_sha256} |" in (tmp_path / name / "README.md").read_text()


@pytest.fixture
def folder(llama, tmp_path):
    """Return the folder of a saved reward."""
    tiny_reward(llama, "q").save_pretrained(tmp_path / "reward")
    return tmp_path / "reward"


def test_a_reward_with_a_flipped_bit_is_refused(llama, folder):
    content = bytearray((folder / "reward.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "reward.safetensors").write_bytes(content)
    with pytest.raises(errors.CorruptReward, match="is damaged: got SHA-256"):
        load_reward(str(folder), llama)


def test_a_reward_with_nan_is_refused_even_if_its_card_knows_no_hash(llama, folder):
    tensors = load_file(folder / "reward.safetensors")
    tensors["head.up"][0, 0] = torch.nan
    save_file(tensors, folder / "reward.safetensors")
    write_card(folder, replace(read_card(folder), weights_sha256=None, schema_version=1))
    with pytest.raises(errors.CorruptReward, match=r"'head\.up' has a number that is not finite"):
        load_reward(str(folder), llama)


def test_a_reward_whose_card_knows_no_hash_is_loaded_with_a_warning(llama, folder):
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del values["weights_sha256"], values["weights_dtype"]
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(errors.CorruptReward, match="has no weights_sha256"):  # a card of this version has one
        load_reward(str(folder), llama)
    values["schema_version"] = 1
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.warns(UncheckedReward, match="has no checksum of its weights; save"):
        reward = load_reward(str(folder), llama)
    reward.save_pretrained(folder)
    assert load_reward(str(folder), llama).attributes == ("kind", "calm")


def fine_tuned(seed=0):
    """Return the language model with every layer's weights changed a little, as merged adapters change them."""
    tuned = tiny_lm("llama", seed)
    for layer in tuned.model.model.layers:
        layer.mlp.up_proj.weight.data.mul_(1.02)
    return tuned


def test_a_fine_tuned_model_does_not_pass_as_the_base(llama, folder):
    tuned = fine_tuned()
    assert tuned.base_fingerprint == llama.base_fingerprint
    with pytest.raises(errors.RewardMismatch, match=f"was trained on weights {llama.base_weights_fingerprint}"):
        RewardModel.from_folder(folder, lambda name: tuned)
    beside = RewardModel.from_folder(folder, lambda name: llama, tuned)  # its trunk is the base that it was trained on
    assert beside.base is llama
    assert beside.score("w1 w2").equal(load_reward(str(folder), llama).score("w1 w2"))


def test_a_card_without_a_hash_of_its_base_is_checked_as_before_with_a_warning(llama, folder):
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del values["base_weights_fingerprint"]
    (folder / "config.json").write_text(json.dumps({**values, "schema_version": 1}), encoding="utf-8")
    with pytest.warns(UncheckedReward, match="has no hash of its base's weights"):
        assert load_reward(str(folder), llama).base is llama
    with pytest.warns(UncheckedReward), pytest.raises(errors.RewardMismatch, match="trained on weights"):
        RewardModel.from_folder(folder, lambda name: tiny_lm("llama", seed=1))


@pytest.mark.parametrize("change", [{"layers": 4}, {"rank": 33}, {"lora_rank": 1000}, {"bos_token_id": 64}])
def test_a_card_that_does_not_fit_its_base_is_refused(llama, folder, change):
    write_card(folder, replace(read_card(folder), **change))
    with pytest.raises(errors.CorruptReward, match=f"does not fit its base: got {next(iter(change))}="):
        load_reward(str(folder), llama)


def test_a_reward_that_is_not_finite_is_not_saved(llama, folder):
    reward = tiny_reward(llama, "q", seed=1)
    before = (folder / "reward.safetensors").read_bytes()
    reward.network.head.up.data[0, 0] = torch.inf
    with pytest.raises(errors.TrainingDiverged, match=r"'head\.up'"):
        reward.save_pretrained(folder)
    assert (folder / "reward.safetensors").read_bytes() == before


def test_weights_beyond_the_dtype_of_the_save_are_refused(llama, tmp_path):
    reward = tiny_reward(llama, "q")
    reward.network.head.up.data[0, 0] = 1e6
    with pytest.raises(errors.TrainingDiverged, match="wider dtype"):
        reward.save_pretrained(tmp_path / "reward", torch.float16)
    assert not (tmp_path / "reward").exists()


def test_a_full_disk_keeps_the_older_reward(llama, folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(tensors, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trimtab.rewards.folder.save_weights", full)
    with pytest.raises(errors.InvalidOutput, match=r"the disk is full; an older one is kept"):
        tiny_reward(llama, "q", seed=1).save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["reward"]


def test_a_reward_is_saved_behind_a_link(llama, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "new").symlink_to("not yet")
    for name in ("link", "new"):
        tiny_reward(llama, "q").save_pretrained(tmp_path / name)
        assert (tmp_path / name).is_symlink()
        assert load_reward(str(tmp_path / name), llama).attributes == ("kind", "calm")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "new", "not yet", "real"]


def test_a_base_in_a_folder_is_found_from_everywhere_and_moves_with_its_reward(tmp_path, monkeypatch):
    lm = tiny_lm("llama")
    for part in (lm.model, lm.tokenizer):
        part.save_pretrained(tmp_path / "all" / "lm")
    monkeypatch.chdir(tmp_path)
    tiny_reward(lm, "q", base="all/lm").save_pretrained(tmp_path / "all" / "rewards" / "kind")
    assert read_card(tmp_path / "all" / "rewards" / "kind").base == "../../lm"
    (tmp_path / "all").rename(tmp_path / "moved")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    reward = load_reward(str(tmp_path / "moved" / "rewards" / "kind"))
    reward.save_pretrained(tmp_path / "again")
    assert read_card(tmp_path / "again").base == "../moved/lm"
    assert load_reward("../again").fingerprint == reward.fingerprint


@pytest.mark.parametrize("path", ["/dev/null", "file", "file/below", "loop", "x" * 300, "a\0b"])
def test_a_path_that_cannot_be_a_folder_is_refused(tmp_path, path):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises((errors.InvalidOutput, errors.InvalidSetting), match="got "):
        check_target(tmp_path / path)


def test_weights_are_rounded_to_the_dtype_of_the_save(llama, tmp_path):
    reward = tiny_reward(llama, "v", trunk="frozen")
    reward.save_pretrained(tmp_path / "reward", torch.bfloat16)
    loaded = load_reward(str(tmp_path / "reward"), llama).network.head.value.weight
    assert torch.equal(loaded, reward.network.head.value.weight.bfloat16().float())
