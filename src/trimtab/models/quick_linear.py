"""Linear maps as quick as a CPU reads them, for the few tokens of a decode step.

A step of a decode loop multiplies every matrix of weights with a few tokens: the time to read it is the least. torch's
products take two to four times as long on processors of AMD, in float32 and in bfloat16. Two other products come nearer
there: for one or two tokens in float32 that of a batch of two half matrices, which takes no copy; else that of a packed
copy. On other processors torch's own products are taken: on Intel's they are the quickest.
"""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from trimtab.models.packed_weights import can_pack, forget, packed_copy, packed_product
from trimtab.models.processor import is_amd
from trimtab.models.quantized import is_plain_matrix

HALVES = 2  # tokens up to which the product of halves is the quicker one, even where there is a packed copy
ONE_THREAD, MORE_THREADS = 4, 32  # the same where there is none, on one thread and on several
MOST_PACKED = 4 << 30  # bytes of packed copies; the maps of a larger model are not copied


@final
class QuickLinear(nn.Linear):
    """A linear map by `quick_linear`.

    Attributes:
        packs: whether its matrix may be copied.
    """

    packs = True

    def forward(self, input: Float[Tensor, "*tokens inputs"]) -> Float[Tensor, "*tokens outputs"]:
        """The map of each token."""
        return quick_linear(input, self.weight, self.bias, self.packs)


def quick_linear(
    input: Float[Tensor, "*tokens inputs"],
    weight: Float[Tensor, "outputs inputs"],
    bias: Float[Tensor, " outputs"] | None = None,
    packs: bool = True,
) -> Float[Tensor, "*tokens outputs"]:
    """`torch.nn.functional.linear`, and quick where no gradient is needed, on a CPU of AMD in float32 or bfloat16.

    The results differ from the usual ones in the order of their sums alone.

    Args:
        input, weight, bias: as in `linear`.
        packs: whether a copy of the weight may be kept, in the order that products read.
    """
    outputs, inputs = weight.shape
    tokens = input.numel() // inputs
    if weight.requires_grad:
        forget(weight)  # it is trained, and not every optimizer's step counts as a change in place
    learns = weight.requires_grad or torch.is_grad_enabled()
    if not tokens or learns or torch.is_autocast_enabled("cpu") or not (weight.is_cpu and products_are_slow()):
        return functional.linear(input, weight, bias)
    halves = weight.dtype == torch.float32 and outputs % 2 == 0
    if halves and tokens <= HALVES:
        return by_halves(input, weight, bias)
    if packs and (packed := packed_copy(weight)) is not None:
        return packed_product(input, packed, bias)
    if halves and tokens <= most_by_halves():
        return by_halves(input, weight, bias)
    return functional.linear(input, weight, bias)


def by_halves(
    input: Float[Tensor, "*tokens inputs"],
    weight: Float[Tensor, "outputs inputs"],
    bias: Float[Tensor, " outputs"] | None = None,
) -> Float[Tensor, "*tokens outputs"]:
    """`torch.nn.functional.linear` as the product of a batch of two half matrices. The number of outputs is even."""
    outputs, inputs = weight.shape
    # BLAS looks at the strides: one token as a row that is turned is six times as fast as the same token as a column.
    columns = input.reshape(1, -1, inputs).mT.expand(2, inputs, -1)
    halves = torch.bmm(weight.view(2, outputs // 2, inputs), columns)
    mapped = halves.view(outputs, -1).T.contiguous().view(*input.shape[:-1], outputs)
    return mapped if bias is None else mapped + bias


def quicken_maps(model: nn.Module) -> None:
    """Make the linear maps of a model quick for a few tokens, in place. A subclass of `nn.Linear` keeps its product."""
    maps = [part for part in model.modules() if type(part) is nn.Linear and _is_slow(part.weight)]
    weights = {id(part.weight): part.weight.nbytes for part in maps}
    for part in maps:
        part.__class__ = QuickLinear
        assert isinstance(part, QuickLinear)
        part.packs = sum(weights.values()) <= MOST_PACKED


def is_packed(model: nn.Module) -> bool:
    """Whether products of a model's linear maps read packed copies."""
    return any(isinstance(part, QuickLinear) and part.packs and can_pack(part.weight) for part in model.modules())


def products_are_slow() -> bool:
    """Whether torch's own products for a few tokens are slow on this machine's processor."""
    return is_amd()


def most_by_halves() -> int:
    """Up to how many tokens the product of halves is quicker than torch's."""
    return MORE_THREADS if torch.get_num_threads() > 1 else ONE_THREAD


def _is_slow(weight: Tensor) -> bool:
    """Whether it is a matrix that torch's products for a few tokens read slowly."""
    return (
        is_plain_matrix(weight)
        and weight.is_cpu
        and products_are_slow()
        and weight.dtype in (torch.float32, torch.bfloat16)
    )
