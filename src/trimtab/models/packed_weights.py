"""Matrices in the order in which oneDNN multiplies them, kept beside those that they are copies of.

torch's products take a matrix as it stands, and are slower for a few tokens. A matrix that never changes is copied
once.
"""

import weakref
from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

TOKENS = 16  # of a product, for which the order is chosen; it serves fewer and more
DTYPES = (torch.float32, torch.bfloat16)


class _Copy(NamedTuple):
    """A packed copy, and what tells whether the matrix is still the one that was copied."""

    packed: Tensor
    version: int
    address: int


_COPIES: dict[int, _Copy] = {}  # by the id of the matrix, as long as the matrix lives


def packed_copy(weight: Float[Tensor, "outputs inputs"]) -> Tensor | None:
    """The packed copy of a matrix, for `packed_product`. It is made at the first call, and after a change in place.

    Returns:
        None if oneDNN has no such product for the matrix here.
    """
    known = _COPIES.get(id(weight))
    if known is not None and known.version == weight._version and known.address == weight.data_ptr():
        return known.packed
    if not can_pack(weight):
        return None
    if known is None:
        weakref.finalize(weight, _COPIES.pop, id(weight), None).atexit = False
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), TOKENS)
    _COPIES[id(weight)] = _Copy(packed, weight._version, weight.data_ptr())
    return packed


def packed_product(
    input: Float[Tensor, "*tokens inputs"], packed: Tensor, bias: Float[Tensor, " outputs"] | None = None
) -> Float[Tensor, "*tokens outputs"]:
    """`torch.nn.functional.linear` by the packed copy of a matrix, without gradients, for at least one token.

    It differs from the usual product in the order of its sums alone.
    """
    product: Tensor = torch.ops.mkldnn._linear_pointwise(input, packed, bias, "none", [], "")
    return product


def forget(weight: Tensor) -> None:
    """Let the copy of a matrix be made again, because the matrix may have changed."""
    if id(weight) in _COPIES:
        _COPIES[id(weight)] = _COPIES[id(weight)]._replace(version=-1)


def can_pack(weight: Tensor) -> bool:
    """Whether oneDNN multiplies a packed copy of a matrix on this machine."""
    whole = weight.is_cpu and weight.is_contiguous() and not weight.is_inference() and weight.numel() > 0
    return whole and weight.dtype in DTYPES and _works(weight.dtype)


@cache
def _works(dtype: torch.dtype) -> bool:
    """Whether this build of torch, on this CPU, has oneDNN's products for a number format."""
    generator = torch.Generator().manual_seed(0)
    weight, input = (torch.randn(size, generator=generator).to(dtype) for size in ((32, 48), (3, 48)))
    try:
        with torch.inference_mode(False), torch.no_grad():
            product = packed_product(input, torch.ops.mkldnn._reorder_linear_weight(weight, TOKENS))
    except (AttributeError, RuntimeError):
        return False
    return torch.allclose(product, functional.linear(input, weight), rtol=0.02, atol=0.02)
