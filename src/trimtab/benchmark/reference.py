"""The usual ways to compute RAD's rewards, for comparison: k copies of the KV cache, and no cache at all.

Both give the rewards of `trimtab.rewards.heads.v_head.VState`, which runs all candidates behind one cache.
"""

from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from trimtab.benchmark.other_state import OtherState
from trimtab.benchmark.rows import RadMethod
from trimtab.errors import InvalidSetting
from trimtab.rewards.heads.base import RewardHead
from trimtab.rewards.reward_model import RewardModel
from trimtab.rewards.trunk import PrefixEncoder
from trimtab.steering.reward import Reward, RewardState


def computed_by(method: RadMethod, reward: RewardModel) -> Reward:
    """The reward with a V-head, computed by one of the three methods."""
    encoder, head = reward.prefix_encoder, reward.network.head
    if method == "cached calls":
        return OtherState(reward, lambda host: CachedCalls(head, encoder))
    if method == "re-encoding":
        return OtherState(reward, lambda host: ReEncoding(head, encoder))
    return reward


@final
class CachedCalls:
    """RAD as its authors' code runs it (2310.09520): the prefix's KV cache is copied k times, one for each candidate.

    Each copy reads one token. The copy of the chosen candidate becomes the cache of the prefix.

    Args:
        head: scores the prefix that ends where a hidden state was read.
        encoder: the trunk.
    """

    def __init__(self, head: RewardHead, encoder: PrefixEncoder):
        self._head, self._encoder = head, encoder
        self._cache = encoder.cache()
        self._copies = 1

    def prefill(self, ids: Int[Tensor, "rows slots"], mask: Bool[Tensor, "rows slots"]) -> None:
        """Encode prompts, BOS before them."""
        self._cache.clear()
        self._cache.feed(*self._encoder.with_bos(ids, mask))

    def rewards(self, candidates: Int[Tensor, "rows k"] | None) -> Float[Tensor, "rows k attributes"]:
        """Copy the cache k times and feed each copy its candidate.

        Raises:
            InvalidSetting: candidates is None.
        """
        known = finite_candidates(candidates, self._encoder)
        self._drop_copies()
        rows, self._copies = known.shape
        self._cache.select(torch.arange(rows, device=known.device).repeat_interleave(self._copies))
        hidden = self._cache.feed(known.reshape(-1, 1)).last_hidden_state[:, -1]
        return self._head.link(self._head(hidden)).unflatten(0, known.shape)

    def advance(self, tokens: Int[Tensor, " rows"], choice: Int[Tensor, " rows"] | None = None) -> None:
        """Keep the copy of the chosen candidate; without a choice, feed the tokens to the prefixes."""
        if choice is None or self._copies == 1:
            self._drop_copies()
            self._cache.feed(tokens[:, None])
            return
        first = torch.arange(len(choice), device=choice.device) * self._copies
        self._cache.select(first + choice)
        self._copies = 1

    def select(self, rows: Int[Tensor, " selected"]) -> None:
        """Fork, re-order or drop prefixes, with their copies."""
        copies = torch.arange(self._copies, device=rows.device)
        self._cache.select((rows[:, None] * self._copies + copies).flatten())

    def rollback(self, tokens: int) -> None:
        """Take back the last tokens of every prefix."""
        self._drop_copies()
        self._cache.rollback(tokens)

    def join(self, other: RewardState) -> None:
        """Append the prefixes of another state of the same reward."""
        assert isinstance(other, CachedCalls)
        self._drop_copies()
        other._drop_copies()
        self._cache.join(other._cache)

    def _drop_copies(self) -> None:
        """Return from k copies of each prefix to the prefix alone."""
        if self._copies > 1:
            self._cache.select(torch.arange(0, self._cache.rows, self._copies))
            self._cache.rollback(1)
            self._copies = 1


@final
class ReEncoding:
    """RAD without a cache: each step encodes prefix + candidate from the first token, for every candidate.

    Args:
        head: scores the prefix that ends where a hidden state was read.
        encoder: the trunk.
    """

    def __init__(self, head: RewardHead, encoder: PrefixEncoder):
        self._head, self._encoder = head, encoder
        self._ids, self._mask = torch.empty(0, 0, dtype=torch.long), torch.empty(0, 0, dtype=torch.bool)

    def prefill(self, ids: Int[Tensor, "rows slots"], mask: Bool[Tensor, "rows slots"]) -> None:
        """Remember the prompts."""
        self._ids, self._mask = ids, mask

    def rewards(self, candidates: Int[Tensor, "rows k"] | None) -> Float[Tensor, "rows k attributes"]:
        """Encode every prefix with every candidate behind it.

        Raises:
            InvalidSetting: candidates is None.
        """
        known = finite_candidates(candidates, self._encoder)
        k = known.shape[1]
        prefixes, masks = self._ids.repeat_interleave(k, dim=0), self._mask.repeat_interleave(k, dim=0)
        texts = torch.cat([prefixes, known.reshape(-1, 1)], dim=1)
        encoded = self._encoder.encode(texts, torch.cat([masks, masks.new_ones(len(masks), 1)], dim=1))
        return self._head.link(self._head(encoded.hidden[:, -1])).unflatten(0, known.shape)

    def advance(self, tokens: Int[Tensor, " rows"], choice: Int[Tensor, " rows"] | None = None) -> None:
        """Append a token to every prefix."""
        self._ids = torch.cat([self._ids, tokens[:, None]], dim=1)
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)

    def select(self, rows: Int[Tensor, " selected"]) -> None:
        """Fork, re-order or drop prefixes."""
        self._ids, self._mask = self._ids[rows], self._mask[rows]

    def rollback(self, tokens: int) -> None:
        """Take back the last tokens of every prefix."""
        kept = self._ids.shape[1] - tokens
        self._ids, self._mask = self._ids[:, :kept], self._mask[:, :kept]

    def join(self, other: RewardState) -> None:
        """Append the prefixes of another state of the same reward, padded on the left to one length."""
        assert isinstance(other, ReEncoding)
        width = max(self._ids.shape[1], other._ids.shape[1])
        pads = [nn.ConstantPad1d((width - state._ids.shape[1], 0), 0) for state in (self, other)]
        self._ids = torch.cat([pad(state._ids) for pad, state in zip(pads, (self, other), strict=True)])
        masks = [pad(state._mask.long()).bool() for pad, state in zip(pads, (self, other), strict=True)]
        self._mask = torch.cat(masks)


def finite_candidates(candidates: Int[Tensor, "rows k"] | None, encoder: PrefixEncoder) -> Int[Tensor, "rows k"]:
    """The candidates, as ids that the trunk reads.

    Raises:
        InvalidSetting: candidates is None.
    """
    if candidates is None:
        raise InvalidSetting("got the whole vocabulary, expected a finite top_k: RAD runs every candidate")
    return candidates.clamp_max(encoder.vocabulary_size - 1)
