"""The rewards of other tokens in the place of every token of given texts."""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trimtab.frozen.cache import PrefixCache
from trimtab.rewards.heads import QHead
from trimtab.rewards.network import RewardNetwork

MAX_BLOCK_TOKENS = 64


@torch.inference_mode()
def score_alternatives(
    network: RewardNetwork,
    ids: Int[Tensor, "rows tokens"],
    mask: Bool[Tensor, "rows tokens"],
    candidates: Int[Tensor, "rows tokens k"],
) -> Float[Tensor, "rows tokens k attributes"]:
    """The reward of each candidate, put behind the tokens that precede its place.

    A Q-head gathers them from one forward. A V-head runs every candidate once behind the cached text, under a block
    mask: tokens · (1 + k) token forwards, in blocks of at most 64 a row.

    Args:
        network: a trunk and a head.
        ids, mask: left-padded texts.
        candidates: for every place, the tokens to score in it.

    Returns:
        Rewards as they steer, the sigmoid of a cross-entropy head applied; meaningless at padding, and at the first
        token of a text where the network puts no BOS before it.
    """
    if isinstance(network.head, QHead):
        return network.head.link(network.head(network(ids, mask).before, candidates))
    cache = PrefixCache(network.trunk)
    cache.feed(*network.with_bos(ids, mask))
    first = cache.slots - ids.shape[1]
    blocks = [_score_block(network, cache, candidates[:, places], places + first) for places in _places(candidates)]
    return torch.cat(blocks, dim=1)


def _places(candidates: Tensor) -> Iterator[Tensor]:
    every = torch.arange(candidates.shape[1], device=candidates.device)
    yield from every.split(max(1, MAX_BLOCK_TOKENS // candidates.shape[2]))


def _score_block(
    network: RewardNetwork, cache: PrefixCache, candidates: Int[Tensor, "rows places k"], slots: Int[Tensor, " places"]
) -> Float[Tensor, "rows places k attributes"]:
    after = (slots - 1)[None, :, None].expand_as(candidates)
    hidden = cache.peek(candidates.flatten(1), after.flatten(1)).last_hidden_state
    return network.head.link(network.head(hidden)).unflatten(1, candidates.shape[1:])
