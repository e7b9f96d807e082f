"""Linear maps of a few tokens at the speed of memory, on a CPU in float32.

A step of a decode loop multiplies every matrix of weights with a few tokens: the time to read it is the least. The BLAS
library of torch's builds for x86 reads a matrix at half of that speed for one token, on one thread, and more slowly for
two. Its product of a batch of matrices has neither fault. So a matrix is given to it as a batch of two halves.
"""

from typing import TypeVar, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from trimtab.models.layers import share_tensors
from trimtab.models.quantized import is_plain_matrix

ONE_THREAD = 4  # tokens up to which the product of halves is the faster one
MORE_THREADS = 32

Model = TypeVar("Model", bound=nn.Module)


@final
class FewTokensLinear(nn.Linear):
    """A linear map by `few_tokens_linear`."""

    def forward(self, input: Float[Tensor, "*tokens inputs"]) -> Float[Tensor, "*tokens outputs"]:
        """The map of each token."""
        return few_tokens_linear(input, self.weight, self.bias)


def few_tokens_linear(
    input: Float[Tensor, "*tokens inputs"],
    weight: Float[Tensor, "outputs inputs"],
    bias: Float[Tensor, " outputs"] | None = None,
) -> Float[Tensor, "*tokens outputs"]:
    """`torch.nn.functional.linear`, and quick for a few tokens without gradients, in float32 on a CPU.

    The results differ from the usual ones in the order of their sums alone.
    """
    outputs, inputs = weight.shape
    tokens = input.numel() // inputs
    if not 0 < tokens <= few() or outputs % 2 or torch.is_grad_enabled() or not is_slow(weight):
        return functional.linear(input, weight, bias)
    # BLAS looks at the strides: one token as a row that is turned is six times as fast as the same token as a column.
    columns = input.reshape(1, tokens, inputs).mT.expand(2, inputs, tokens)
    halves = torch.bmm(weight.view(2, outputs // 2, inputs), columns)
    mapped = halves.view(outputs, tokens).T.contiguous().view(*input.shape[:-1], outputs)
    return mapped if bias is None else mapped + bias


def quicken(model: Model) -> Model:
    """Make the linear maps of a model quick for a few tokens, in place, and return it.

    Names, weights and shapes stay as they are. A subclass of `nn.Linear` keeps its own product.
    """
    for part in model.modules():
        if type(part) is nn.Linear and is_plain_matrix(part.weight) and is_slow(part.weight):
            part.__class__ = FewTokensLinear
    return model


def unquickened(model: Model) -> Model:
    """A copy that shares all tensors and has torch's own linear maps, as transformers loads it."""
    copy = share_tensors(model)
    quick: list[nn.Module] = [part for part in copy.modules() if isinstance(part, FewTokensLinear)]
    for part in quick:
        part.__class__ = nn.Linear
    return copy


def few() -> int:
    """Up to how many tokens the product of halves is the faster one."""
    return MORE_THREADS if torch.get_num_threads() > 1 else ONE_THREAD


def is_slow(weight: Tensor) -> bool:
    """Whether it is stored as torch's products for one token read it slowly."""
    return weight.is_cpu and weight.dtype == torch.float32
