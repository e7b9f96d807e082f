"""A model whose steps of few tokens are quick: other linear maps, norms and attention, over the same tensors."""

from typing import TypeVar

from torch import nn

from trimtab.models.grouped_attention import group_attention, ungroup_attention
from trimtab.models.layers import share_tensors
from trimtab.models.quick_linear import QuickLinear, quicken_maps
from trimtab.models.quick_norm import QuickRMSNorm, quicken_norms

Model = TypeVar("Model", bound=nn.Module)


def quicken(model: Model) -> Model:
    """Make the linear maps, the norms and the attention of a model quick for a few tokens, in place, and return it.

    Names, weights and shapes stay as they are.
    """
    quicken_maps(model)
    quicken_norms(model)
    group_attention(model)
    return model


def unquickened(model: Model) -> Model:
    """A copy that shares all tensors, and computes as transformers loads it."""
    shared = share_tensors(model)
    ungroup_attention(shared)
    for part in list(shared.modules()):
        part.__class__ = _plain(part)
    return shared


def _plain(part: nn.Module) -> type[nn.Module]:
    if isinstance(part, QuickLinear):
        return nn.Linear
    return part.plain if isinstance(part, QuickRMSNorm) else type(part)
