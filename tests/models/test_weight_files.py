"""Files of weights are opened, and their headers read, without the weights."""

import json

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from tiny import save_lm
from trimtab import errors
from trimtab.models import loading
from trimtab.models.weight_files import INDEX, WHOLE, check_weight_files


@pytest.fixture
def shards(tmp_path):
    """A folder with weights in two files, and their index."""
    for name in ("one.safetensors", "two.safetensors"):
        save_file({name: torch.ones(100)}, tmp_path / name)
    names = {"one.safetensors": "one.safetensors", "two.safetensors": "two.safetensors"}
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": names}), encoding="utf-8")
    return tmp_path


def test_whole_files_pass_and_files_of_no_index_are_not_opened(shards):
    (shards / "consolidated.safetensors").write_bytes(b"of another program")
    check_weight_files(shards)


def test_pickled_weights_are_left_to_the_loader(tmp_path):
    check_weight_files(tmp_path)


@pytest.mark.parametrize("change", [lambda data: data[:-4], lambda data: bytes([255]) * 8 + data[8:], lambda data: b""])
@pytest.mark.parametrize("name", [WHOLE, "two.safetensors"])
def test_a_cut_file_or_a_damaged_header_is_found(shards, name, change):
    if name == WHOLE:
        save_file({"weight": torch.ones(100)}, shards / WHOLE)
    (shards / name).write_bytes(change((shards / name).read_bytes()))
    with pytest.raises(SafetensorError):
        check_weight_files(shards)


def test_a_missing_file_is_named(shards):
    (shards / "two.safetensors").unlink()
    with pytest.raises(errors.InvalidData, match=r"lacks two\.safetensors"):
        check_weight_files(shards)


@pytest.mark.parametrize("index", ["[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}', "{"])
def test_an_index_of_another_form_is_refused(shards, index):
    (shards / INDEX).write_text(index, encoding="utf-8")
    with pytest.raises(errors.InvalidData, match=r"weight_map|JSON"):
        check_weight_files(shards)


def test_a_cut_file_is_refused_before_any_weights_are_read(llama, tmp_path, monkeypatch):
    save_lm(llama, tmp_path)
    whole = (tmp_path / WHOLE).read_bytes()
    (tmp_path / WHOLE).write_bytes(whole[: len(whole) // 2])
    monkeypatch.setattr(loading, "_load_weights", lambda *_: pytest.fail("the weights were read"))
    with pytest.raises(errors.ModelNotFound, match="header"):
        loading.load_frozen_lm(str(tmp_path))
