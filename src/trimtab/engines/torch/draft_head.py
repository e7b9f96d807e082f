"""Drafts by a draft head, with the noise of the loop that checks them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache

from trimtab.drafts.draft_model import DraftModel
from trimtab.drafts.head import DraftHead
from trimtab.engines.base import Request
from trimtab.engines.proposer import ProposerState, SteerDraft
from trimtab.engines.torch.sampling import RowSampling
from trimtab.engines.torch.speculation import chosen
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.kv_cache import KVCache
from trimtab.steering.rule import Candidates


@final
class HeadProposer:
    """Drafts by a head that reads the language model's hidden states.

    Attributes:
        cost: of a drafted token: the head's weights over the model's.

    Args:
        draft: the head.
        base: the language model that it was made for.
    """

    def __init__(self, draft: DraftModel, base: FrozenLM):
        self.draft = draft
        weights = [*draft.head.parameters(), *draft.head.buffers()]
        self.cost = sum(each.numel() for each in weights) / base.model.num_parameters()

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

    def propose(self, most: Sequence[int], steer: SteerDraft) -> list[list[int]]:
        """Draft by the head's own best guesses, steered, with the noise of each row."""
        if max(most) <= 0:
            return [[] for _ in most]
        sampling, cache = replace(self._sampling), DynamicCache()
        cache.update(*self._host.keys_values(self._head), 0)
        state, token, drafted = self._host.hidden(self._head)[:, None], self._last, []
        visible = self._host.mask[:, None, None]
        for _ in range(max(most)):
            visible = functional.pad(visible, (0, 1), value=True)
            guess = self._head.guess(state, token[:, None], visible, cache)
            token = self._chosen(self._head.logits(guess)[:, 0], sampling, steer)
            state = self._head.onward(guess)
            drafted.append(token)
        rows = torch.stack(drafted, dim=1).tolist()
        return [row[:length] for row, length in zip(rows, most, strict=True)]

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

    def _chosen(
        self, logits: Float[Tensor, "rows frequent"], sampling: RowSampling, steer: SteerDraft
    ) -> Int[Tensor, " rows"]:
        """The choice of each row, which counts as one more step of `sampling`."""
        frequent = sampling.candidates(logits.float())
        candidates = Candidates(self._head.tokens[frequent.ids], frequent.logits, whole=False)
        return chosen(candidates, sampling, steer)
