"""Other tokens in the place of each token of given texts: the base's most likely ones, and the rewards of any."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trimtab.models.frozen_lm import FrozenLM, PromptBatch
from trimtab.rewards.network import RewardNetwork


@final
@dataclass(frozen=True)
class BaseCandidates:
    """The base's most likely tokens in the place of each token of some texts.

    Attributes:
        token_ids: the k most likely tokens, most likely first.
        logits: their raw logits.
        known: False at padding, and where nothing precedes.
    """

    token_ids: Int[Tensor, "rows tokens k"]
    logits: Float[Tensor, "rows tokens k"]
    known: Bool[Tensor, "rows tokens"]


@torch.inference_mode()
def base_candidates(base: FrozenLM, batch: PromptBatch, k: int) -> BaseCandidates:
    """The base's k most likely tokens in the place of each token of left-padded texts.

    BOS is put before a text only if the base's tokenizer does so: these are the prefixes that generation sees.
    """
    ids, mask = batch.ids, batch.mask
    if base.prepends_bos:
        texts = [row[seen].tolist() for row, seen in zip(ids, mask, strict=True)]
        opened = [text if text[:1] == [base.bos_token_id] else [base.bos_token_id, *text] for text in texts]
        whole = PromptBatch.pad(opened, base.pad_token_id, base.device)
        ids, mask = whole.ids, whole.mask
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    logits = base.model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False).logits
    top = logits.roll(1, dims=1).topk(k, dim=-1)
    known = mask & mask.roll(1, dims=1)
    known[:, 0] = False
    tokens = batch.ids.shape[1]
    return BaseCandidates(top.indices[:, -tokens:], top.values[:, -tokens:].float(), known[:, -tokens:])


@torch.inference_mode()
def score_candidates(
    network: RewardNetwork,
    ids: Int[Tensor, "rows tokens"],
    mask: Bool[Tensor, "rows tokens"],
    candidates: Int[Tensor, "rows places k"],
    slots: Int[Tensor, "rows places"] | None = None,
) -> Float[Tensor, "rows places k attributes"]:
    """The reward of each candidate behind the tokens that precede its place.

    A Q-head runs one forward of the texts. A V-head runs every candidate: tokens + places · k token forwards.

    Args:
        network: a trunk and a head.
        ids, mask: left-padded texts.
        candidates: the tokens to score in each place.
        slots: the slot of each place in `ids`; default: every slot.

    Returns:
        Rewards, after the head's link. They are meaningless at padding, and at the first token of a text if the
        network puts no BOS before it.
    """
    if slots is None:
        slots = torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)
    return network.head.score_candidates(network.encoder, ids, mask, candidates, slots)
