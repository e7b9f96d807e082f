"""Drafts by a draft head, with the noise of the loop that checks them."""

from collections.abc import Sequence
from typing import final

import torch

from trimtab.drafts.draft_model import DraftModel
from trimtab.drafts.head import DraftHead
from trimtab.engines.base import Request
from trimtab.engines.draft import Draft
from trimtab.engines.proposer import ProposerState, SteerDraft
from trimtab.engines.torch.draft_tree import CHAIN, Growth, TreeShape
from trimtab.engines.torch.sampling import RowSampling
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.kv_cache import KVCache

LAYERS = 1  # of the model: an estimate of the operations of a guess, which was not timed


@final
class HeadProposer:
    """Drafts by a head that reads the language model's hidden states.

    Attributes:
        cost: of a guess, in forward calls of the model: its share of the weights, and of the operations.

    Args:
        draft: the head.
        base: the language model that it was made for.
    """

    def __init__(self, draft: DraftModel, base: FrozenLM):
        self.draft = draft
        weights = [*draft.head.parameters(), *draft.head.buffers()]
        self.cost = sum(each.numel() for each in weights) / base.model.num_parameters() + LAYERS / base.layers

    def reads(self, model: object) -> DraftHead:
        """The head."""
        return self.draft.head

    def start(self, requests: Sequence[Request], host: KVCache) -> ProposerState:
        """A state of the rows of some requests."""
        return HeadState(self.draft.head, RowSampling.of(requests, host.model.device), host)


@final
class HeadState:
    """The rows of one loop. The head's keys and values are in the loop's own cache.

    Args:
        head: drafts.
        sampling: how each row chooses its tokens.
        host: the loop's cache.
    """

    def __init__(self, head: DraftHead, sampling: RowSampling, host: KVCache):
        self._head, self._sampling, self._host = head, sampling, host
        self._last = torch.zeros_like(sampling.keys)

    def propose(self, most: Sequence[int], steer: SteerDraft, branches: bool) -> list[Draft]:
        """Draft by the head's own best guesses, steered, with the noise of each row.

        With branches, the tokens that come next most probably are drafted, and of those the best are gone on from. Rows
        without a top_k get chains: every branch would need noise for all tokens that the head knows.
        """
        deep, rows = max(most), len(most)
        if deep <= 0:
            return [Draft() for _ in most]
        few = all(each.top_k is not None for each in self._sampling.params)
        shape = TreeShape.of(rows) if branches and few else CHAIN
        growth = Growth(self._head, self._host, self._sampling, self._last)
        for _ in range(deep):
            growth.grow(shape, steer)
        return growth.drafts(most)

    def append(self, tokens: Sequence[Sequence[int]]) -> None:
        """Remember the last token of each row."""
        counts = torch.tensor([len(new) for new in tokens], device=self._last.device)
        last = torch.tensor([new[-1] if new else 0 for new in tokens], device=self._last.device)
        self._last = last.where(counts > 0, self._last)
        self._sampling = self._sampling.later(counts)

    def select(self, rows: Sequence[int]) -> None:
        """Fork, re-order or drop rows."""
        self._sampling, self._last = self._sampling.select(rows), self._last[list(rows)]

    def join(self, other: ProposerState) -> None:
        """Append the rows of another state."""
        assert isinstance(other, HeadState)
        self._sampling = self._sampling.join(other._sampling)
        self._last = torch.cat([self._last, other._last])
