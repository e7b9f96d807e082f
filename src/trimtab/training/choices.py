"""What the base would write in the place of each token of given texts."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trimtab.frozen.lm import FrozenLM, PromptBatch


@final
@dataclass(frozen=True)
class Choices:
    """What the base would write at every place of some texts.

    Attributes:
        candidates: its k most likely tokens, most likely first.
        logits: theirs.
        known: False at padding and where nothing precedes.
    """

    candidates: Int[Tensor, "rows tokens k"]
    logits: Float[Tensor, "rows tokens k"]
    known: Bool[Tensor, "rows tokens"]


@torch.inference_mode()
def base_choices(base: FrozenLM, batch: PromptBatch, k: int) -> Choices:
    """The base's k most likely tokens in the place of each token of left-padded texts.

    BOS is put before a text only where the base's tokenizer does so: these are the prefixes that generation sees.
    """
    ids, mask = batch.ids, batch.mask
    if base.prepends_bos:
        opened = [[base.bos_token_id, *row[seen].tolist()] for row, seen in zip(ids, mask, strict=True)]
        whole = PromptBatch.pad(opened, base.pad_token_id, base.device)
        ids, mask = whole.ids, whole.mask
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    logits = base.model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False).logits
    top = logits.roll(1, dims=1).topk(k, dim=-1)
    known = mask & mask.roll(1, dims=1)
    known[:, 0] = False
    tokens = batch.ids.shape[1]
    return Choices(top.indices[:, -tokens:], top.values[:, -tokens:].float(), known[:, -tokens:])
