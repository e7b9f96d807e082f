"""Dequantize the tensors of a GGUF file into safetensors, one tensor at a time."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from trimtab.data.json_text import dump_json
from trimtab.errors import InvalidData

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

SHARD_BYTES = 2**30
INDEX_FILE = "model.safetensors.index.json"


def write_model(gguf: Path, folder: Path) -> None:
    """Write a GGUF file's model as a folder that transformers loads: config, tokenizer, and weights in float32.

    Memory holds one shard of SHARD_BYTES at a time, not the model. The values are those that transformers loads.

    Args:
        gguf: the file.
        folder: an empty folder.

    Raises:
        InvalidData: the file lacks weights.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    place = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    config = AutoConfig.from_pretrained(**place)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    written = _write_shards(gguf, model, folder)
    expected = set(model.state_dict()) - set(model.all_tied_weights_keys)
    if missing := sorted(expected - written):
        raise InvalidData(f"{len(missing)} of its weights are missing, such as {missing[0]}")
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**place).save_pretrained(folder)


def read_tensors(gguf: Path, model: "PreTrainedModel") -> Iterator[tuple[str, "Tensor"]]:
    """Yield the weights of a model by name, in float32; each is dequantized when it is asked for.

    Args:
        gguf: the file.
        model: a model of the file's architecture; its weights are not read.
    """
    import numpy as np
    import torch
    from gguf import GGUFReader, dequantize
    from transformers.modeling_gguf_pytorch_utils import (
        TENSOR_PROCESSORS,
        TensorProcessor,
        get_gguf_hf_weights_map,
    )

    reader = GGUFReader(gguf)
    architecture = reader.fields["general.architecture"].contents()
    processor = TENSOR_PROCESSORS.get(architecture, TensorProcessor)(config=model.config.to_dict())
    whole = SimpleNamespace(config=model.config, state_dict=model.state_dict, named_children=list)
    names = get_gguf_hf_weights_map(whole, processor)
    if not {tensor.name for tensor in reader.tensors} <= names.keys():  # by the names of its parts, such as Bloom's
        names = get_gguf_hf_weights_map(model, processor)
    parsed: dict[str, Any] = {"tensors": {}}
    for tensor in reader.tensors:
        made = processor.process(
            weights=dequantize(tensor.data, tensor.tensor_type),
            name=tensor.name,
            tensor_key_mapping=names,
            parsed_parameters=parsed,
        )
        if made.name in names:
            yield names[made.name], torch.from_numpy(np.copy(made.weights)).float()
    yield from parsed["tensors"].items()  # those that a processor merges out of several, such as experts


def _write_shards(gguf: Path, model: "PreTrainedModel", folder: Path) -> set[str]:
    """Write the weights and their index; returns their names."""
    from safetensors.torch import save_file

    places: dict[str, str] = {}
    shard: dict[str, Tensor] = {}
    total = 0

    def flush() -> None:
        if shard:
            file = f"model-{len(set(places.values())) + 1:05}.safetensors"
            save_file(shard, folder / file, metadata={"format": "pt"})
            places.update(dict.fromkeys(shard, file))
            shard.clear()

    for name, tensor in read_tensors(gguf, model):
        if shard and sum(each.nbytes for each in shard.values()) + tensor.nbytes > SHARD_BYTES:
            flush()
        shard[name] = tensor.contiguous()  # a processor may have turned it over
        total += tensor.nbytes
    flush()
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / INDEX_FILE).write_text(dump_json(index, indent=2), encoding="utf-8")
    return set(places)
