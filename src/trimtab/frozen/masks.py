"""Attention masks of tokens that see some columns of a cache and not others."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

Additive = Float[Tensor, "rows 1 tokens columns"]


def attention_masks(
    model: PreTrainedModel,
    visible: Bool[Tensor, "rows tokens columns"],
    column_positions: Int[Tensor, "rows columns"],
    positions: Int[Tensor, "rows tokens"],
) -> Additive | dict[str, Additive]:
    """What a model's forward takes as its mask; layers with a sliding window see of that only what is near.

    Args:
        model: a decoder.
        visible: which columns each token sees, its own among them.
        column_positions: of each column in its text.
        positions: of each token in its text.
    """
    whole = _additive(visible, model.dtype)
    window = getattr(model.config, "sliding_window", None)
    if not window:
        return whole
    recent = column_positions[:, None] > positions[..., None] - window
    windowed = _additive(visible & recent, model.dtype)
    if getattr(model.config, "layer_types", None) is None:
        return windowed
    return {"full_attention": whole, "sliding_attention": windowed}


def _additive(allowed: Bool[Tensor, "rows tokens columns"], dtype: torch.dtype) -> Additive:
    blocked = torch.full((), torch.finfo(dtype).min, dtype=dtype, device=allowed.device)
    return torch.where(allowed, torch.zeros((), dtype=dtype, device=allowed.device), blocked)[:, None]
