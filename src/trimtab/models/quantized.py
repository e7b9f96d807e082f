"""Quantized models: told by what their linear maps hold, and read weight by weight."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from trimtab.models.layers import find_decoder, find_layers

PLAIN = (nn.Parameter, Tensor)
COMPUTABLE = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def is_plain_matrix(weight: object) -> bool:
    """Whether a weight is a matrix of floating-point numbers that torch computes with."""
    return type(weight) in PLAIN and weight.dim() == 2 and weight.dtype in COMPUTABLE  # type: ignore[attr-defined]


def is_quantized(model: PreTrainedModel) -> bool:
    """Whether linear maps in the layers of a model hold anything but plain matrices, or are modules of another kind."""
    layers = find_layers(find_decoder(model)).modules()
    weights = [part.weight for part in layers if isinstance(part, nn.Linear | Conv1D)]
    return not weights or not all(map(is_plain_matrix, weights))


def stored_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every tensor that a model saves, by its name: packed weights, scales and zero points too."""
    return {name: each for key, value in model.state_dict().items() for name, each in _tensors(key, value)}


def _tensors(name: str, value: object) -> Iterator[tuple[str, Tensor]]:
    """The tensors in an entry of a state; torch's own quantized modules have tuples there."""
    if isinstance(value, Tensor):
        yield name, value.dequantize() if value.is_quantized else value
    elif isinstance(value, tuple):
        for number, each in enumerate(value):
            yield from _tensors(f"{name}.{number}", each)
