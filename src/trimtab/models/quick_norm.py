"""RMS norms as one operation, where transformers' take eight: for few tokens, starting an operation is what costs."""

import copy
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


@final
class QuickRMSNorm(nn.Module):
    """x / sqrt(mean(x²) + ε) · weight (1910.07467), by torch's own operation.

    In 16 bits the result is rounded once; transformers' norms round before they multiply with the weight too.

    Attributes:
        weight: one factor per feature.
        variance_epsilon: ε.
        plain: the class in transformers.
    """

    weight: Tensor
    variance_epsilon: float
    plain: type[nn.Module]

    def forward(self, hidden_states: Float[Tensor, "*tokens hidden"]) -> Float[Tensor, "*tokens hidden"]:
        """The norm of each token."""
        if hidden_states.dtype != self.weight.dtype:
            normed: Tensor = self.plain.forward(self, hidden_states)
            return normed
        return functional.rms_norm(hidden_states, self.weight.shape, self.weight, self.variance_epsilon)


def quicken_norms(model: nn.Module) -> None:
    """Make the RMS norms of a model one operation each, in place. Norms that compute something else stay."""
    usual: dict[type, bool] = {}
    for part in [part for part in model.modules() if type(part).__name__.endswith("RMSNorm")]:
        plain = type(part)
        if plain not in usual:
            usual[plain] = is_usual(part)
        if usual[plain]:
            part.__class__ = QuickRMSNorm
            part.plain = plain  # type: ignore[assignment]


@torch.no_grad()
def is_usual(norm: nn.Module) -> bool:
    """Whether a norm of transformers is x / sqrt(mean(x²) + ε) · weight, by what it makes of random numbers."""
    weight, epsilon = getattr(norm, "weight", None), getattr(norm, "variance_epsilon", None)
    if not isinstance(weight, Tensor) or weight.dim() != 1 or not isinstance(epsilon, float) or _has_more(norm):
        return False
    tried, generator = copy.deepcopy(norm).to("cpu", torch.float32), torch.Generator().manual_seed(0)
    tried.weight.copy_(torch.randn(weight.shape, generator=generator))  # type: ignore[operator]
    given = torch.randn(3, *weight.shape, generator=generator)
    found: Any = tried(given)
    expected = functional.rms_norm(given, weight.shape, tried.weight, epsilon)  # type: ignore[arg-type]
    return torch.is_tensor(found) and torch.allclose(found, expected, rtol=1e-5, atol=1e-6)


def _has_more(norm: nn.Module) -> bool:
    """Whether a norm has tensors beside its weight."""
    return sum(1 for _ in norm.parameters()) + sum(1 for _ in norm.buffers()) != 1
