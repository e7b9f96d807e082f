"""Attention of a few tokens on a CPU: heads that share keys become tokens of one head, so that keys are read once.

torch's attention repeats the keys for each head, or reads them for each, and in 16 bits is slow for a single token.
"""

import inspect
from pathlib import Path
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

GROUPED, USUAL = "trimtab_grouped", "sdpa"  # as transformers calls them
MOST_TOKENS = 96  # of a row; longer calls read prompts, and are no quicker so
UNUSUAL = ("position_bias", "softcap", "s_aux", "cache")  # arguments of some models that are left to transformers

Mask = Float[Tensor, "rows 1 new slots"] | Bool[Tensor, "rows 1 new slots"]


def grouped_attention(
    queries: Float[Tensor, "rows heads new size"],
    keys: Float[Tensor, "rows key_heads slots size"],
    values: Float[Tensor, "rows key_heads slots value_size"],
    mask: Mask | None,
    scale: float | None = None,
) -> Float[Tensor, "rows heads new value_size"]:
    """`scaled_dot_product_attention(…, enable_gqa=True)`, by queries that are packed.

    Args:
        queries: of the new tokens; each head of keys serves as many heads of them, one after another.
        keys, values: of all tokens.
        mask: what each new token sees, or what is added to its scores; None for a single token that sees all.
        scale: of the scores; default: 1 / sqrt(size).
    """
    rows, heads, new, size = queries.shape
    sharing = heads // keys.shape[1]
    if mask is not None and new > 1:
        mask = mask.repeat(1, 1, sharing, 1)
    packed = queries.reshape(rows, keys.shape[1], sharing * new, size)
    attended = functional.scaled_dot_product_attention(packed, keys, values, mask, scale=scale)
    return attended.reshape(rows, heads, new, values.shape[3])


def packs(queries: Tensor, keys: Tensor, mask: Tensor | None) -> bool:
    """Whether `grouped_attention` is the quicker one."""
    rows, heads, new, _ = queries.shape
    if not queries.is_cpu or heads == keys.shape[1] or new > MOST_TOKENS or rows != keys.shape[0]:
        return False
    if mask is None:
        return new == 1 and queries.itemsize == 2
    return tuple(mask.shape[1:3]) == (1, new)


def forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """transformers' interface: attention by packed queries where that is quicker, else transformers' own."""
    unusual = dropout or any(options.get(name) is not None for name in UNUSUAL)
    if not unusual and packs(query, key, attention_mask):
        attended = grouped_attention(query, key, value, attention_mask, scaling)
        return attended.transpose(1, 2).contiguous(), None
    return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **options)


def group_attention(model: nn.Module) -> None:
    """Make a model attend by `forward`, in place, if it attends by torch's function and may attend by another."""
    if isinstance(model, PreTrainedModel) and attention_of(model) == USUAL and _takes_any_name(type(model)):
        model.config.get_text_config()._attn_implementation = GROUPED


def ungroup_attention(model: nn.Module) -> None:
    """Undo `group_attention`."""
    if isinstance(model, PreTrainedModel) and attention_of(model) == GROUPED:
        model.config.get_text_config()._attn_implementation = USUAL


def attention_of(model: PreTrainedModel) -> str | None:
    """The name of a model's attention."""
    name: str | None = model.config.get_text_config()._attn_implementation
    return name


def _takes_any_name(kind: type[PreTrainedModel]) -> bool:
    """Whether a model gets its attention from transformers by name, and its code does not mention torch's."""
    if not getattr(kind, "_supports_attention_backend", False):
        return False
    try:
        source = Path(inspect.getfile(kind)).read_text(encoding="utf-8")
    except (OSError, TypeError):  # of a class that is in no file
        return False
    return f'"{USUAL}"' not in source


AttentionInterface.register(GROUPED, forward)
AttentionMaskInterface.register(GROUPED, sdpa_mask)
