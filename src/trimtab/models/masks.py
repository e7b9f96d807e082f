"""Attention masks for tokens that see only some columns of a KV cache."""

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
    """The mask for a model's forward call. Layers with a sliding window see only the near columns.

    Args:
        model: a decoder.
        visible: the columns that each token sees, including its own.
        column_positions: the position of each column in its text.
        positions: the position of each token in its text.
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


def causal_columns(mask: Bool[Tensor, "rows slots"], new: int) -> Bool[Tensor, "rows new slots"]:
    """The columns that each of the last tokens sees: all up to its own, without padding.

    A padding token sees itself, because attention to nothing is not a number.
    """
    columns = torch.arange(mask.shape[1], device=mask.device)
    own = columns[-new:, None]
    return (mask[:, None] & (columns <= own)) | (columns == own)


def _additive(allowed: Bool[Tensor, "rows tokens columns"], dtype: torch.dtype) -> Additive:
    blocked = torch.full((), torch.finfo(dtype).min, dtype=dtype, device=allowed.device)
    return torch.where(allowed, torch.zeros((), dtype=dtype, device=allowed.device), blocked)[:, None]
