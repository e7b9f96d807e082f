"""Find the decoder of a `transformers` model, its layers and its final norm; copy layers without copying weights."""

import copy
from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn
from transformers import PreTrainedModel

from trimtab.errors import UnsupportedModel

Part = TypeVar("Part", bound=nn.Module)

FINAL_NORM_NAMES = ("norm", "ln_f", "final_layernorm", "final_layer_norm", "final_norm", "norm_f", "layer_norm")


def find_decoder(model: PreTrainedModel) -> PreTrainedModel:
    """The text decoder of a model: the part with the layers, without language-model head and encoders of images.

    Raises:
        UnsupportedModel: no part of the model is one.
    """
    kind = type(model.config.get_text_config())
    for part in model.modules():
        if isinstance(part, PreTrainedModel) and type(part.config) is kind and _layers_name(part):
            return part
    raise UnsupportedModel(f"got {type(model).__name__}, expected one list of its transformer layers")


def find_layers(body: PreTrainedModel) -> nn.ModuleList:
    """The transformer layers of a decoder without its language-model head."""
    name = _layers_name(body)
    if name is None:
        depth = body.config.num_hidden_layers
        raise UnsupportedModel(f"got {type(body).__name__}, expected one list of its {depth} transformer layers")
    return body.get_submodule(name)


def find_final_norm(body: PreTrainedModel) -> nn.Module:
    """The norm that follows the last layer."""
    children = dict(body.named_children())
    for name in FINAL_NORM_NAMES:
        if name in children:
            return children[name]
    raise UnsupportedModel(f"got {type(body).__name__}, expected a final norm named {' or '.join(FINAL_NORM_NAMES)}")


def remove_final_norm(body: PreTrainedModel) -> None:
    """Put an identity in place of the final norm."""
    norm = find_final_norm(body)
    for name, child in body.named_children():
        if child is norm:
            setattr(body, name, nn.Identity())


def share_first_layers(body: PreTrainedModel, layers: int) -> PreTrainedModel:
    """A decoder of the first `layers` layers and the final norm that shares the tensors of `body`.

    The modules are new, so adapters in them do not reach `body`. The weights take no new memory.
    """
    trunk = share_tensors(body)
    setattr(trunk, str(_layers_name(trunk)), find_layers(trunk)[:layers])
    trunk.config.num_hidden_layers = layers
    if getattr(trunk.config, "layer_types", None):
        trunk.config.layer_types = trunk.config.layer_types[:layers]
    return trunk.eval()


def share_tensors(body: Part, replaced: Mapping[Any, Any] | None = None) -> Part:
    """A copy of a decoder's modules that shares all tensors with it.

    Args:
        body: the decoder, or a part of one.
        replaced: modules and tensors of it, and what the copy has in their place.
    """
    known = {id(tensor): tensor for tensor in [*body.parameters(), *body.buffers()]}
    known |= {id(old): new for old, new in (replaced or {}).items()}
    return copy.deepcopy(body, known)


def _layers_name(body: PreTrainedModel) -> str | None:
    depth = getattr(body.config, "num_hidden_layers", None)
    lists = (name for name, child in body.named_children() if isinstance(child, nn.ModuleList) and len(child) == depth)
    return next(lists, None)
