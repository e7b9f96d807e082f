"""Attention masks for tokens that see only some columns of a KV cache."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from trimtab.models.grouped_attention import USUAL, attention_of

Additive = Float[Tensor, "rows 1 tokens columns"]


def attention_masks(
    model: PreTrainedModel,
    visible: Bool[Tensor, "rows tokens columns"],
    column_positions: Int[Tensor, "rows columns"],
    positions: Int[Tensor, "rows tokens"],
) -> Additive | dict[str, Additive]:
    """The mask for a model's forward call, or one for each kind of layers, where the kinds see different columns.

    Layers with a sliding window see only the near columns. Layers with chunked attention see only the columns of their
    chunk; chunks start at the first token of a text.

    Args:
        model: a decoder.
        visible: the columns that each token sees, including its own.
        column_positions: the position of each column in its text.
        positions: the position of each token in its text.
    """
    config = model.config.get_text_config()
    columns, tokens = column_positions[:, None], positions[..., None]
    masks = {"full_attention": _additive(visible, model.dtype)}
    if window := getattr(config, "sliding_window", None):
        masks["sliding_attention"] = _additive(visible & (columns > tokens - window), model.dtype)
    if chunk := getattr(config, "attention_chunk_size", None):
        masks["chunked_attention"] = _additive(visible & (columns // chunk == tokens // chunk), model.dtype)
    if len(masks) > 1 and getattr(config, "layer_types", None):
        return masks
    return list(masks.values())[-1]  # all layers are of one kind


def wants_mask(model: PreTrainedModel) -> bool:
    """Whether one token of each row is attended faster with a mask than without, though the mask hides nothing.

    On a CPU in 16 bits, torch's attention without a mask takes four to seven times as long where several heads share
    their keys. With a mask, transformers gives it the heads that share keys as the tokens of one head.
    `grouped_attention` does so without one.
    """
    config = model.config.get_text_config()
    heads = getattr(config, "num_attention_heads", 1)
    shared = (getattr(config, "num_key_value_heads", None) or heads) < heads
    return shared and model.device.type == "cpu" and model.dtype.itemsize == 2 and attention_of(model) == USUAL


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
