"""Matrices in the order in which oneDNN multiplies them, kept beside those that they are copies of.

torch's products on a CPU bring a matrix into that order again in every call, or read it slowly as it stands. A matrix
that never changes is better copied once.
"""

from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.utils.weak import WeakTensorKeyDictionary

TOKENS = 16  # of a product, for which the order is chosen; it serves fewer and more
DTYPES = (torch.float32, torch.bfloat16)


class _Copy(NamedTuple):
    """A packed copy, and what tells whether the matrix is still the one that was copied."""

    mark: tuple[int, int]
    packed: Tensor


_COPIES = WeakTensorKeyDictionary()  # of each matrix, as long as the matrix lives


def can_pack(weight: Float[Tensor, "outputs inputs"]) -> bool:
    """Whether oneDNN multiplies a packed copy of a matrix on this machine."""
    whole = weight.is_cpu and weight.is_contiguous() and not weight.is_inference() and weight.numel() > 0
    return whole and weight.dtype in DTYPES and _works(weight.dtype)


def packed_linear(
    input: Float[Tensor, "*tokens inputs"],
    weight: Float[Tensor, "outputs inputs"],
    bias: Float[Tensor, " outputs"] | None = None,
) -> Float[Tensor, "*tokens outputs"]:
    """`torch.nn.functional.linear` by a packed copy of the matrix, without gradients.

    The first call makes the copy. A matrix that was changed in place is copied again. The results differ from the usual
    ones in the order of their sums alone.

    Args:
        input: at least one token, in the number format of the matrix.
        weight: a matrix for which `can_pack` is true.
        bias: is added.
    """
    mapped: Tensor = torch.ops.mkldnn._linear_pointwise(input, _packed(weight), bias, "none", [], "")
    return mapped


def forget(weight: Tensor) -> None:
    """Drop the copy of a matrix, which may have changed."""
    _COPIES.pop(weight, None)


def _packed(weight: Tensor) -> Tensor:
    mark = (weight._version, weight.data_ptr())
    known: _Copy | None = _COPIES.get(weight)
    if known is None or known.mark != mark:
        known = _Copy(mark, torch.ops.mkldnn._reorder_linear_weight(weight.detach(), TOKENS))
        _COPIES[weight] = known
    return known.packed


@cache
def _works(dtype: torch.dtype) -> bool:
    """Whether this build of torch, on this CPU, has oneDNN's products for a number format."""
    generator = torch.Generator().manual_seed(0)
    weight, input = (torch.randn(size, generator=generator).to(dtype) for size in ((32, 48), (3, 48)))
    try:
        with torch.inference_mode(False), torch.no_grad():
            packed = torch.ops.mkldnn._reorder_linear_weight(weight, TOKENS)
            found = torch.ops.mkldnn._linear_pointwise(input, packed, None, "none", [], "")
    except (AttributeError, RuntimeError):
        return False
    return torch.allclose(found, functional.linear(input, weight), rtol=0.02, atol=0.02)
