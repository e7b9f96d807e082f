"""RAD's head, which scores a prefix from its own hidden state, and its per-request state."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from trimtab.errors import InvalidSetting
from trimtab.models.frozen_lm import PromptBatch
from trimtab.models.kv_cache import KVCache
from trimtab.rewards.card import Link, RewardCard
from trimtab.rewards.heads.base import PrefixRewards, RewardHead, make_link
from trimtab.rewards.trunk import EncodedTexts, PrefixEncoder
from trimtab.steering.reward import RewardState

MAX_CANDIDATES = 1024  # of one prefix in one forward
MAX_BLOCK_TOKENS = 64  # candidates of one row in one forward, over the places of a text


@final
class VHead(RewardHead):
    """RAD's head: the reward of a prefix from its own hidden state, r_a(x) = ⟨w_a, h(x)⟩ + c_a (2310.09520)."""

    prefix_value_name: ClassVar[str | None] = "value"
    scores_behind: ClassVar[bool] = True
    max_candidates: ClassVar[int | None] = MAX_CANDIDATES

    def __init__(self, hidden_size: int, attributes: int, link: Link = "identity"):
        super().__init__()
        self.attributes = attributes
        self.link = make_link(link)
        self.value = nn.Linear(hidden_size, attributes)

    @classmethod
    def build(cls, card: RewardCard, embedding: Float[Tensor, "vocabulary hidden"]) -> "VHead":
        """A fresh head of the base's hidden size."""
        return cls(embedding.shape[1], len(card.attributes), card.link)

    @classmethod
    def describe(cls, card: RewardCard) -> str:
        """The head; it has no settings."""
        return "V-head"

    def forward(self, hidden: Float[Tensor, "*prefixes hidden"]) -> Float[Tensor, "*prefixes attributes"]:
        """The answers for the prefixes that end where `hidden` was read."""
        return self.value(hidden.to(self.value.weight.dtype))

    def score_prefixes(self, texts: EncodedTexts) -> PrefixRewards:
        """Answer for each token from the state at that token."""
        follows = texts.mask & functional.pad(texts.mask[:, :-1], (1, 0))
        return PrefixRewards(self(texts.hidden), follows if texts.opened else texts.mask, texts.hidden)

    def score_candidates(
        self,
        encoder: PrefixEncoder,
        ids: Int[Tensor, "rows tokens"],
        mask: Bool[Tensor, "rows tokens"],
        candidates: Int[Tensor, "rows places k"],
        slots: Int[Tensor, "rows places"],
    ) -> Float[Tensor, "rows places k attributes"]:
        """Run each candidate once behind the cached text under a block mask: tokens + places · k token forwards."""
        cache = encoder.cache()
        cache.feed(*encoder.with_bos(ids, mask))
        first = cache.slots - ids.shape[1]
        each = max(1, MAX_BLOCK_TOKENS // candidates.shape[2])
        blocks = zip(candidates.split(each, dim=1), (slots + first).split(each, dim=1), strict=True)
        return torch.cat([self._score_block(cache, *block) for block in blocks], dim=1)

    def _score_block(
        self, cache: KVCache, candidates: Int[Tensor, "rows places k"], slots: Int[Tensor, "rows places"]
    ) -> Float[Tensor, "rows places k attributes"]:
        after = (slots - 1)[..., None].expand_as(candidates)
        hidden = cache.propose(candidates.flatten(1), after.flatten(1)).last_hidden_state
        return self.link(self(hidden)).unflatten(1, candidates.shape[1:])

    def score_next_tokens(
        self, encoder: PrefixEncoder, prefixes: Iterable[PromptBatch], tokens: Int[Tensor, " tokens"]
    ) -> Float[Tensor, "prefixes tokens attributes"]:
        """One token forward for each answer, in the model's precision; load it in float32."""
        return torch.cat([self._score_after(encoder, prefix, tokens) for prefix in prefixes]).double()

    def _score_after(
        self, encoder: PrefixEncoder, prefix: PromptBatch, tokens: Int[Tensor, " tokens"]
    ) -> Float[Tensor, "1 tokens attributes"]:
        cache = encoder.cache()
        cache.feed(*encoder.with_bos(prefix.ids, prefix.mask))
        blocks = tokens[None].split(MAX_CANDIDATES, dim=1)
        return torch.cat([self(cache.propose(block).last_hidden_state) for block in blocks], dim=1)

    def start(self, encoder: PrefixEncoder, host: KVCache | None = None) -> RewardState:
        """A state that runs every candidate."""
        return VState(self, encoder, host)


@final
class VState:
    """RAD: all k candidates of a prefix run behind it, in one forward under a block mask (2310.09520).

    Differs from the paper's code: one cache serves all candidates instead of k copies. The chosen candidate's column
    is kept, so that a step costs one forward of k tokens and no other.
    """

    def __init__(self, head: VHead, encoder: PrefixEncoder, host: KVCache | None = None):
        self._head, self._encoder = head, encoder
        self._cache = encoder.cache(host=host)
        self._candidates: Tensor | None = None

    def prefill(self, ids: Int[Tensor, "rows slots"], mask: Bool[Tensor, "rows slots"]) -> None:
        """Encode prompts, BOS before them, in one forward."""
        self._candidates = None
        self._cache.clear()
        self._cache.feed(*self._encoder.with_bos(ids, mask))

    def rewards(self, candidates: Int[Tensor, "rows k"] | None) -> Float[Tensor, "rows k attributes"]:
        """Run the candidates behind their prefixes and score each.

        Raises:
            InvalidSetting: candidates is None.
        """
        if candidates is None:
            raise _needs_candidates()
        known = candidates.clamp_max(self._encoder.vocabulary_size - 1)
        self._candidates = candidates
        return self._head.link(self._head(self._cache.propose(known).last_hidden_state))

    def advance(self, tokens: Int[Tensor, " rows"], choice: Int[Tensor, " rows"] | None = None) -> None:
        """Append a token to every prefix: a candidate's column is kept; any other token costs a forward."""
        if choice is None and self._candidates is not None:
            found = self._candidates == tokens[:, None]
            if bool(found.any(1).all()):
                choice = found.int().argmax(1)
        if choice is None or self._candidates is None:
            self._cache.feed(tokens[:, None])
        else:
            self._cache.accept(choice)
        self._candidates = None

    def extend(self, tokens: Int[Tensor, "rows new"], mask: Bool[Tensor, "rows new"]) -> None:
        """Append several tokens to every prefix, in one forward."""
        self._cache.feed(tokens, mask)
        self._candidates = None

    def draft_rewards(
        self, candidates: Int[Tensor, "rows places k"] | None, places: int
    ) -> Float[Tensor, "rows places k attributes"]:
        """Run the candidates of as many places in one forward as it takes, one at least. Errors as in `rewards`."""
        if candidates is None:
            raise _needs_candidates()
        each = max(1, MAX_CANDIDATES // candidates.shape[2])
        last = torch.arange(self._cache.slots - places, self._cache.slots, device=candidates.device)
        blocks = zip(candidates.split(each, dim=1), last.split(each), strict=True)
        return torch.cat([self._draft_block(*block) for block in blocks], dim=1)

    def _draft_block(
        self, candidates: Int[Tensor, "rows places k"], last: Int[Tensor, " places"]
    ) -> Float[Tensor, "rows places k attributes"]:
        known = candidates.clamp_max(self._encoder.vocabulary_size - 1)
        after = last[:, None].expand_as(known).flatten(1)
        hidden = self._cache.propose(known.flatten(1), after).last_hidden_state
        return self._head.link(self._head(hidden)).unflatten(1, known.shape[1:])

    def retract(self, tokens: Sequence[int]) -> None:
        """Take back the last tokens of each prefix; the scored candidates are forgotten."""
        self._cache.retract(tokens)
        self._candidates = None

    def select(self, rows: Int[Tensor, " selected"]) -> None:
        """Fork, re-order or drop prefixes, their scored candidates with them."""
        self._cache.select(rows)
        if self._candidates is not None:
            self._candidates = self._candidates[rows]

    def rollback(self, tokens: int) -> None:
        """Take back the last tokens of every prefix; the scored candidates are forgotten."""
        self._cache.rollback(tokens)
        self._candidates = None

    def join(self, other: RewardState) -> None:
        """Append the prefixes of another state of the same reward; the scored candidates are forgotten."""
        assert isinstance(other, VState)
        self._cache.join(other._cache)
        self._candidates = None


def _needs_candidates() -> InvalidSetting:
    return InvalidSetting("a V-head scores each candidate with a forward of its own: expected a finite top_k")
