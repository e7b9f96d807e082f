"""LoRA adapters of a trunk: put beside its linear maps, or merged into them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from trimtab.errors import InvalidSetting
from trimtab.models.huge_pages import empty_in_huge_pages
from trimtab.models.layers import find_layers, share_tensors
from trimtab.models.quantized import is_plain_matrix
from trimtab.rewards.card import RewardCard

if TYPE_CHECKING:
    from peft.tuners.lora import LoraLayer

MOST_MERGED = 4 << 30  # bytes of merged weights; adapters of a larger trunk stay apart, unless asked for
ROUTER = "router"  # of experts: some are linear maps that return more than a tensor
UNTRAINED_TRUNKS = "ladder or frozen"  # what takes a base as it is


def add_adapters(trunk: PreTrainedModel, card: RewardCard) -> PreTrainedModel:
    """Put fresh adapters of the card's rank beside every linear map of the trunk's layers, and return the trunk.

    Raises:
        InvalidSetting: no linear map takes an adapter, as in some quantized models.
    """
    from peft import LoraConfig, inject_adapter_in_model  # a third of a second, which unsteered text does not need

    names = linear_names(trunk)
    if not names:
        raise InvalidSetting(
            f"got a LoRA on {type(trunk).__name__}, which has no linear map that an adapter can change (is it "
            f"quantized?); use another trunk: {UNTRAINED_TRUNKS}"
        )
    adapters = LoraConfig(
        r=card.lora_rank,
        lora_alpha=card.lora_alpha,
        target_modules=names,
        fan_in_fan_out=any(isinstance(part, Conv1D) for part in trunk.modules()),  # GPT-2 stores its maps transposed
    )
    inject_adapter_in_model(adapters, find_layers(trunk))  # given a whole model, peft moves adapters into experts
    return trunk


def linear_names(trunk: PreTrainedModel) -> list[str]:
    """The last part of the name of every linear map in the trunk's layers, without the routers of experts."""
    parts = find_layers(trunk).named_modules()
    found = [name for name, part in parts if isinstance(part, nn.Linear | Conv1D)]
    return sorted({name.rsplit(".", 1)[-1] for name in found} - {ROUTER})


def merging_pays(trunk: PreTrainedModel) -> bool:
    """Whether adapters can be merged, in weights of one kind and place that take at most 4 GiB.

    In 16 bits the rewards differ from those in float32 as they do with adapters apart; see Performance in the docs.
    """
    weights = [layer.get_base_layer().weight for layer in _adapted(trunk)]
    alike = len({(weight.dtype, weight.device) for weight in weights}) <= 1
    return alike and all(map(is_plain_matrix, weights)) and sum(weight.nbytes for weight in weights) <= MOST_MERGED


@torch.inference_mode(mode=False)
@torch.no_grad()
def merge_adapters(trunk: PreTrainedModel) -> PreTrainedModel:
    """A trunk whose adapters are added into weights of their own; it shares all other tensors.

    A token then costs what it costs in the bare layers. The merged weights take the memory of the linear maps; so do
    their packed copies on an AMD CPU.

    Raises:
        InvalidSetting: the model has packed weights, to which nothing can be added.
    """
    layers = _adapted(trunk)
    linears = [layer.get_base_layer() for layer in layers]
    if not all(is_plain_matrix(linear.weight) for linear in linears):
        raise InvalidSetting("got adapters on packed weights to merge, expected plain ones; leave merge_adapters out")
    rooms = _rooms([linear.weight for linear in linears])
    for layer, room in zip(layers, rooms, strict=True):
        _add_adapter(layer, room)
    weights = [nn.Parameter(room, requires_grad=False) for room in rooms]
    merged = [share_tensors(linear, {linear.weight: weight}) for linear, weight in zip(linears, weights, strict=True)]
    return share_tensors(trunk, dict(zip(layers, merged, strict=True)))


def quick_adapters(trunk: PreTrainedModel) -> PreTrainedModel:
    """A trunk whose adapters cost two products and no more at each linear map; it shares all tensors."""
    return share_tensors(trunk, {layer: QuickAdapter(layer) for layer in _adapted(trunk)})


@final
class QuickAdapter(nn.Module):
    """W x + scaling · B A x, for inference: without the checks and the extra operations of peft's layer.

    Args:
        layer: peft's.
    """

    def __init__(self, layer: "LoraLayer"):
        super().__init__()
        (adapter,) = layer.active_adapters
        self.linear = layer.get_base_layer()
        self.down, self.up = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
        self.scaling = layer.scaling[adapter]

    def forward(self, x: Float[Tensor, "*tokens inputs"]) -> Float[Tensor, "*tokens outputs"]:
        """The map of each token."""
        whole = self.linear(x)
        down, up = self.down.to(whole.dtype), self.up.to(whole.dtype)  # training keeps them in float32
        narrow = functional.linear(x.flatten(0, -2), down)
        return torch.addmm(whole.flatten(0, -2), narrow, up.T, alpha=self.scaling).view_as(whole)


def _adapted(trunk: PreTrainedModel) -> "list[LoraLayer]":
    from peft.tuners.lora import LoraLayer

    return [part for part in trunk.modules() if isinstance(part, LoraLayer)]


def _rooms(weights: Sequence[Tensor]) -> list[Tensor]:
    """Uninitialised tensors of the shapes of some weights, one behind the other in one piece of memory."""
    sizes = [weight.numel() for weight in weights]
    memory = empty_in_huge_pages(sum(sizes), weights[0].dtype, weights[0].device)
    return [room.view_as(weight) for room, weight in zip(memory.split(sizes), weights, strict=True)]


def _add_adapter(layer: "LoraLayer", room: Tensor) -> None:
    """Write W + scaling · B A to `room`, summed in float32 or wider and rounded once."""
    (adapter,) = layer.active_adapters
    weight = layer.get_base_layer().weight
    wide = torch.promote_types(weight.dtype, torch.float32)
    down, up = (part[adapter].weight.to(wide) for part in (layer.lora_A, layer.lora_B))
    up = up * layer.scaling[adapter]
    left, right = (down.T, up.T) if layer.fan_in_fan_out else (up, down)  # GPT-2 stores its linear maps transposed
    if weight.dtype == wide:
        torch.addmm(weight, left, right, out=room)
    else:
        room.copy_(torch.addmm(weight.to(wide), left, right))
