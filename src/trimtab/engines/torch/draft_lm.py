"""Drafts by another language model of the same tokenizer, with the noise of the loop that checks them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from trimtab.engines.base import Request
from trimtab.engines.draft import Draft
from trimtab.engines.proposer import ProposerState, SteerDraft
from trimtab.engines.torch.sampling import RowSampling
from trimtab.engines.torch.speculation import agreement, chosen
from trimtab.errors import RewardMismatch
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.kv_cache import KVCache, check_device


@final
class LMProposer:
    """Drafts by a smaller language model (2211.17192).

    Attributes:
        cost: of a drafted token: the smaller model's weights over the other's.

    Args:
        lm: drafts.
        base: the language model that checks its drafts.

    Raises:
        RewardMismatch: the two have different tokenizers.
        InvalidSetting: they are on different devices.
    """

    def __init__(self, lm: FrozenLM, base: FrozenLM):
        if lm.codec.fingerprint != base.codec.fingerprint:
            raise RewardMismatch(
                f"got {lm.name!r} to draft for {base.name!r}, which has another tokenizer; expected a model with the "
                "same one"
            )
        check_device(lm.model, base.model)
        self.lm, self.cost = lm, lm.model.num_parameters() / base.model.num_parameters()

    def reads(self, model: object) -> None:
        """Nothing: it reads the tokens."""

    def start(self, requests: Sequence[Request], host: KVCache) -> ProposerState:
        """A state of the rows of some requests; their prompts are encoded."""
        return LMState(self.lm, requests, host.beside(self.lm.model))


@final
class LMState:
    """The rows of one loop, in a cache of the smaller model's own.

    Once a text is as long as the smaller model's context, nothing more is drafted for its batch.

    Args:
        lm: drafts.
        requests: the rows.
        cache: an empty one of the smaller model.
    """

    def __init__(self, lm: FrozenLM, requests: Sequence[Request], cache: KVCache):
        self._lm, self._cache = lm, cache
        self._sampling = RowSampling.of(requests, lm.device)
        self._lengths = [len(each.tokens) for each in requests for _ in range(each.params.n)]  # in the cache
        self._pending: list[list[int]] = [[] for _ in self._lengths]  # written, and not in the cache
        self._fed: list[list[int]] = [[] for _ in self._lengths]  # of the last drafts, what the cache has
        self._over = max(self._lengths) > lm.context_length
        if not self._over:
            with lm.lock:
                self._encode(requests)

    def propose(self, most: Sequence[int], steer: SteerDraft, branches: bool) -> list[Draft]:
        """Draft by the smaller model, steered, with the noise of each row."""
        length = min(max(most), self._room)
        if self._room <= 0:
            self._stop()
        if length <= 0 or self._over:
            return [Draft() for _ in most]
        sampling, drafted = replace(self._sampling), list[Tensor]()
        with self._lm.lock:
            logits = self._read_pending()
            for _ in range(length - 1):
                drafted.append(chosen(sampling.candidates(logits), sampling, steer))
                logits = self._cache.feed(drafted[-1][:, None]).logits[:, -1].float()
            drafted.append(chosen(sampling.candidates(logits), sampling, steer))
        rows = torch.stack(drafted, dim=1).tolist()
        self._fed = [row[:-1] for row in rows]
        return [Draft.chain(row[:room]) for row, room in zip(rows, most, strict=True)]

    def append(self, tokens: Sequence[Sequence[int]]) -> None:
        """Take back the drafts that were wrong; what was written instead is read with the next draft."""
        kept = [max(0, min(agreement(fed, new), len(new) - 1)) for fed, new in zip(self._fed, tokens, strict=True)]
        self._retract([len(fed) - right for fed, right in zip(self._fed, kept, strict=True)])
        self._lengths = [length + right for length, right in zip(self._lengths, kept, strict=True)]
        self._pending = [
            [*pending, *new[right:]] for pending, new, right in zip(self._pending, tokens, kept, strict=True)
        ]
        self._fed = [[] for _ in tokens]
        self._sampling = self._sampling.later(torch.tensor([len(new) for new in tokens], device=self._lm.device))

    def select(self, rows: Sequence[int]) -> None:
        """Fork, re-order or drop rows."""
        if not self._over:
            self._cache.select(torch.tensor(rows, dtype=torch.long, device=self._lm.device))
        self._sampling = self._sampling.select(rows)
        self._pending = [list(self._pending[row]) for row in rows]
        self._fed, self._lengths = [self._fed[row] for row in rows], [self._lengths[row] for row in rows]

    def join(self, other: ProposerState) -> None:
        """Append the rows of another state."""
        assert isinstance(other, LMState)
        if any(state._over or state._room <= 0 for state in (self, other)):
            self._stop()
        else:
            with self._lm.lock:
                for state in (self, other):
                    state._read_pending()
            self._cache.join(other._cache)
        self._sampling = self._sampling.join(other._sampling)
        self._pending, self._fed = self._pending + other._pending, self._fed + other._fed
        self._lengths += other._lengths

    @property
    def _room(self) -> int:
        """The tokens that the longest text may still get within the smaller model's context."""
        texts = (length + len(pending) for length, pending in zip(self._lengths, self._pending, strict=True))
        return self._lm.context_length - max(texts)

    def _stop(self) -> None:
        """Draft nothing more."""
        self._over = True
        self._cache.clear()

    def _encode(self, requests: Sequence[Request]) -> None:
        """Feed each prompt once."""
        places = {prompt: row for row, prompt in enumerate(dict.fromkeys(each.tokens for each in requests))}
        batch = self._lm.batch(list(places))
        self._cache.feed(batch.ids, batch.mask)
        rows = [places[each.tokens] for each in requests for _ in range(each.params.n)]
        self._cache.select(torch.tensor(rows, device=self._lm.device))

    def _read_pending(self) -> Float[Tensor, "rows vocabulary"]:
        """Feed what was written since the last draft; returns the logits behind it, or nothing if it was nothing."""
        counts = [len(pending) for pending in self._pending]
        if not any(counts):
            return torch.empty(0, 0, device=self._lm.device)
        width, least, device = max(counts), max(1, min(counts)), self._lm.device
        ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in self._pending], device=device)
        lengths = torch.tensor(counts, device=device)
        within = torch.arange(width, device=device) < lengths[:, None]
        logits = self._cache.feed(ids, within, width - least + 1).logits  # from the end of the shortest
        self._retract([width - count for count in counts])
        self._lengths = [length + count for length, count in zip(self._lengths, counts, strict=True)]
        self._pending = [[] for _ in counts]
        return logits[torch.arange(len(counts), device=device), (lengths - least).clamp_min(0)].float()

    def _retract(self, tokens: Sequence[int]) -> None:
        if any(tokens):
            self._cache.retract(tokens)
