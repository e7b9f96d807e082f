"""A language model's log-probabilities of next tokens, as the per-request state of a reward."""

from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.kv_cache import KVCache
from trimtab.steering.reward import RewardState


@final
class LogProbState:
    """log p(v | x) of a language model for a batch of prefixes: one forward of one token per step.

    The logits are the model's own, whatever its architecture does behind its last layer. They are not kept for earlier
    tokens: a rollback runs the last token again.

    Args:
        lm: the language model.
        host: the cache of the steered model, whose prefix cache and usage count serve this model too.

    Raises:
        InvalidSetting: the two models are on different devices.
    """

    def __init__(self, lm: FrozenLM, host: KVCache | None = None):
        self._cache = KVCache(lm.model) if host is None else host.beside(lm.model)
        self._logits = torch.empty(0, lm.vocabulary_size, device=lm.device)

    def prefill(self, ids: Int[Tensor, "rows slots"], mask: Bool[Tensor, "rows slots"]) -> None:
        """Encode prompts in one forward; no BOS is added."""
        self._cache.clear()
        self._feed(ids, mask)

    def _feed(self, ids: Int[Tensor, "rows new"], mask: Bool[Tensor, "rows new"] | None = None) -> None:
        self._logits = self._cache.feed(ids, mask).logits[:, -1].float()

    def rewards(self, candidates: Int[Tensor, "rows k"] | None) -> Float[Tensor, "rows k 1"]:
        """log p of each candidate, in nats. An id past the vocabulary, as padded models have, counts as the last id."""
        if candidates is None:
            return self._logits.log_softmax(-1)[..., None]
        known = candidates.clamp_max(self._logits.shape[1] - 1)
        return (self._logits.gather(1, known) - self._logits.logsumexp(-1, keepdim=True))[..., None]

    def advance(self, tokens: Int[Tensor, " rows"], choice: Int[Tensor, " rows"] | None = None) -> None:
        """Append a token to every prefix, in one forward."""
        self._feed(tokens[:, None])

    def select(self, rows: Int[Tensor, " selected"]) -> None:
        """Fork, re-order or drop prefixes."""
        self._cache.select(rows)
        self._logits = self._logits[rows]

    def join(self, other: RewardState) -> None:
        """Append the prefixes of another state of the same model."""
        assert isinstance(other, LogProbState)
        self._cache.join(other._cache)
        self._logits = torch.cat([self._logits, other._logits])

    def rollback(self, tokens: int) -> None:
        """Take back the last tokens of every prefix, and run the token before them again.

        Raises:
            InvalidSetting: the shortest prefix would have no token left.
        """
        self._cache.rollback(tokens)
        ids, mask = self._cache.prefixes
        if int(mask.sum(1).min()) == 1:  # a cache cannot lose a row's only token
            self.prefill(ids, mask)
        else:
            self._cache.rollback(1)
            self._feed(ids[:, -1:])
