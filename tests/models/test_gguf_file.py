import os
from unittest.mock import Mock

import gguf
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, GgufConfig

from trimtab import errors
from trimtab.models import gguf_tensors
from trimtab.models.gguf_file import cache_folder, converted
from trimtab.models.loading import faults_of, load_frozen_lm


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own."""
    monkeypatch.setenv("TRIMTAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("TRIMTAB_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "trimtab"
    monkeypatch.setenv("TRIMTAB_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"


HEADER = {
    "zeros": b"GGUF" + bytes(100),
    "an absurd count": b"GGUF" + (3).to_bytes(4, "little") + b"\xff" * 16,
    "an absurd length": b"GGUF" + (3).to_bytes(4, "little") + (1).to_bytes(8, "little") * 2 + b"\xff" * 7 + b"\x0f",
    "the magic alone": b"GGUF",
}


@pytest.mark.parametrize("header", HEADER)
def test_a_damaged_gguf_file_is_named_and_leaves_nothing_behind(tmp_path, cache, header):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(HEADER[header])
    with pytest.raises(errors.ModelNotFound, match=r"broken\.gguf"):
        converted(broken)
    assert list((cache / "models").iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), SafetensorError("I/O error: No space left on device (os error 28)")],
)
def test_a_full_disk_is_not_the_fault_of_the_file(tmp_path, cache, monkeypatch, error):
    (tmp_path / "whole.gguf").write_bytes(HEADER["zeros"])
    monkeypatch.setattr("trimtab.models.gguf_file.write_model", Mock(side_effect=error))
    with pytest.raises(errors.InvalidOutput, match="the disk is full; free some space, or set TRIMTAB_CACHE"):
        converted(tmp_path / "whole.gguf")
    assert list((cache / "models").iterdir()) == []


def test_another_file_of_the_same_size_and_time_is_converted_again(tmp_path, cache, monkeypatch):
    path, made = tmp_path / "model.gguf", []

    def write(gguf, folder):
        made.append(gguf.read_bytes()[-1])
        (folder / "weights").write_bytes(gguf.read_bytes())

    def replace(content):
        time = path.stat().st_mtime_ns
        path.write_bytes(content)
        os.utime(path, ns=(time, time))  # as cp -p and rsync -t do

    monkeypatch.setattr("trimtab.models.gguf_file.write_model", write)
    path.write_bytes(b"GGUF1")
    folder = converted(path)
    replace(b"GGUF1")  # the same bytes: they are read, and found to be the same
    assert converted(path) == folder
    replace(b"GGUF2")
    assert converted(path) == folder
    assert (folder / "weights").read_bytes() == b"GGUF2"
    assert made == [ord("1"), ord("2")]
    (folder / "source.json").unlink()  # as earlier versions left it
    assert converted(path) == converted(path) == folder
    assert len(made) == 2
    assert [each.name for each in (cache / "models").iterdir()] == [folder.name]


def test_tensors_that_a_family_turns_over_are_written(tmp_path, monkeypatch):
    """transformers turns those of GPT-2 over, which leaves their rows apart in memory."""
    turned = torch.arange(6.0).view(2, 3).T
    monkeypatch.setattr(gguf_tensors, "read_tensors", lambda gguf, model: iter([("weight", turned)]))
    assert gguf_tensors._write_shards(tmp_path / "gpt2.gguf", None, tmp_path) == {"weight"}
    (file,) = tmp_path.glob("*.safetensors")
    assert torch.equal(load_file(file)["weight"], turned)


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_a_lack_of_memory_is_not_the_fault_of_the_file(tmp_path, monkeypatch, error):
    (tmp_path / "whole.gguf").write_bytes(HEADER["zeros"])
    monkeypatch.setattr("trimtab.models.gguf_file.write_model", Mock(side_effect=error))
    with pytest.raises(type(error)):
        converted(tmp_path / "whole.gguf")
    with pytest.raises(type(error)), faults_of("model"):
        raise error


def test_a_cache_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "whole.gguf").write_bytes(HEADER["zeros"])
    monkeypatch.setenv("TRIMTAB_CACHE", "/dev/null/x")
    with pytest.raises(errors.InvalidOutput, match=r"/dev/null/x.*set TRIMTAB_CACHE"):
        converted(tmp_path / "whole.gguf")


@pytest.mark.parametrize("content", [b"", b"hello", bytes(1000)])
def test_a_file_that_is_no_gguf_file_is_refused_as_such(tmp_path, content):
    other = tmp_path / "other.gguf"
    other.write_bytes(content)
    with pytest.raises(errors.ModelNotFound, match="not a GGUF file"):
        converted(other)


def write_gguf(path, frozen, leave_out=()):
    """Write a tiny llama as a GGUF file: matrices in Q4_1, the rest in float32."""
    writer = gguf.GGUFWriter(path, "llama")
    config, rows = frozen.model.config, frozen.vocabulary_size
    writer.add_name("tiny")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(rows)
    writer.add_tokenizer_model("gpt2")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())[: rows - 4]
    writer.add_token_list(["<unk>", "<bos>", "<eos>", *letters, "!!"])
    writer.add_token_types([3, 3, 3, *[1] * (rows - 3)])
    writer.add_token_merges(["! !"])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weight in frozen.model.state_dict().items():
        if name == "lm_head.weight" or name in leave_out:  # tied to the input embedding
            continue
        kind = gguf.GGMLQuantizationType.Q4_1 if weight.dim() == 2 else gguf.GGMLQuantizationType.F32
        kind = gguf.GGMLQuantizationType.F32 if weight.shape[-1] % 32 else kind
        data = gguf.quants.quantize(weight.float().numpy(), kind)
        writer.add_tensor(names.get_name(name.removesuffix(".weight")) + ".weight", data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("shard_bytes", [2**30, 5000])
def test_a_converted_file_has_the_values_that_transformers_loads(llama, tmp_path, monkeypatch, shard_bytes):
    monkeypatch.setattr("trimtab.models.gguf_tensors.SHARD_BYTES", shard_bytes)
    path = write_gguf(tmp_path / "tiny.gguf", llama)
    folder = converted(path)
    expected = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="tiny.gguf", quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    )
    found = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    architecture = {"architectures": ["LlamaForCausalLM"]}
    assert found.config.to_diff_dict() == {**expected.config.to_diff_dict(), **architecture}
    assert found.state_dict().keys() == expected.state_dict().keys()
    for name, weight in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], weight), name
    assert (len(list(folder.glob("*.safetensors"))) > 1) == (shard_bytes == 5000)
    assert load_frozen_lm(path).codec.context_length == 64
    assert converted(path) == folder


def test_a_file_that_lacks_a_weight_is_refused(llama, tmp_path, cache):
    path = write_gguf(tmp_path / "tiny.gguf", llama, leave_out=["model.layers.1.mlp.up_proj.weight"])
    with pytest.raises(errors.ModelNotFound, match=r"layers\.1\.mlp\.up_proj"):
        converted(path)
    assert list((cache / "models").iterdir()) == []


def test_a_truncated_file_is_refused(llama, tmp_path):
    path = write_gguf(tmp_path / "tiny.gguf", llama)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(errors.ModelNotFound, match="damaged"):
        converted(path)
