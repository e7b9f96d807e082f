"""Batches of pairs: all chosen texts, then all rejected ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from trimtab.models.frozen_lm import PromptBatch


def collate_pairs(examples: Sequence[Mapping[str, Any]], pad_token_id: int) -> dict[str, Tensor]:
    """Ids and mask of some pairs: all chosen texts, then all rejected ones."""
    texts = [example[side] for side in ("chosen", "rejected") for example in examples]
    batch = PromptBatch.pad(texts, pad_token_id, torch.device("cpu"))
    return {"ids": batch.ids, "mask": batch.mask}
