"""ARM's head, which scores every next token from one hidden state, and its two per-request states."""

import copy
from collections.abc import Iterable, Sequence
from typing import ClassVar, Protocol, final, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from trimtab.errors import InvalidSetting
from trimtab.models.frozen_lm import PromptBatch
from trimtab.models.kv_cache import KVCache
from trimtab.models.side_network import Reader
from trimtab.rewards.card import Link, RewardCard
from trimtab.rewards.heads.base import PrefixRewards, RewardHead, make_link, take_slots
from trimtab.rewards.trunk import EncodedTexts, PrefixEncoder
from trimtab.steering.reward import RewardState

UP_INIT_STD = 0.02
MANY = 4  # from a quarter of the vocabulary on, all tokens are scored: no row of the embedding is copied


@final
class QHead(RewardHead):
    """ARM's low-rank head: the reward of every next token from one hidden state (2407.04615, "linear with baseline").

        r_a(v | x) = ⟨w_a, h⟩ + c_a + ⟨U V_a h, e_v⟩

    h is the trunk's state at the prefix x: of the hidden size, or of a ladder's width. e_v is the base's frozen output
    embedding of the token v, scaled to unit variance. The first half is the prefix's baseline, the second is the
    token's marginal.

    Differs from the paper: W = U V_a has a rank (`rank = hidden size` is the paper's full W), and e_v is scaled, so
    that one learning rate serves every base.

    Args:
        embedding: the output embedding; never trained, never saved.
        attributes: how many rewards the head returns.
        rank: R, the rank of the marginal.
        baseline: whether to add the prefix's baseline; without it the head returns differences.
        link: from answers to rewards; see `make_link`.
        state_size: the length of h; default: the hidden size.
    """

    prefix_value_name: ClassVar[str | None] = "baseline"
    distillation_targets: ClassVar[frozenset[str]] = frozenset({"orig", "delta", "candidates"})
    embedding_scale: Tensor

    def __init__(
        self,
        embedding: Float[Tensor, "vocabulary hidden"],
        attributes: int,
        rank: int,
        baseline: bool = True,
        link: Link = "identity",
        state_size: int | None = None,
    ):
        super().__init__()
        self.attributes = attributes
        self.link = make_link(link)
        hidden = embedding.shape[1]
        state_size = state_size or hidden
        self.baseline = nn.Linear(state_size, attributes) if baseline else None
        self.up = nn.Parameter(torch.randn(hidden, rank) * UP_INIT_STD)
        self.down = nn.Parameter(torch.zeros(attributes, rank, state_size))
        self.register_buffer("embedding_scale", 1 / embedding.float().std())
        self._embedding = (embedding,)  # in a tuple: neither a parameter nor part of the state dict

    @classmethod
    def build(cls, card: RewardCard, embedding: Float[Tensor, "vocabulary hidden"]) -> "QHead":
        """A fresh head with the card's rank."""
        if card.rank > embedding.shape[1]:
            raise InvalidSetting(f"got rank={card.rank}, expected at most the hidden size, {embedding.shape[1]}")
        state_size = card.ladder_width if card.trunk == "ladder" else None
        return cls(embedding, len(card.attributes), card.rank, card.baseline, card.link, state_size)

    @classmethod
    def describe(cls, card: RewardCard) -> str:
        """The head and its rank."""
        return f"Q-head of rank {card.rank}" + ("" if card.baseline else ", returns differences")

    @property
    def vocabulary_size(self) -> int:
        """How many tokens the head can score."""
        return self._embedding[0].shape[0]

    def forward(
        self, hidden: Float[Tensor, "*prefixes hidden"], candidates: Int[Tensor, "*prefixes k"] | None = None
    ) -> Float[Tensor, "*prefixes k attributes"]:
        """The answers for candidate next tokens, gathered before they are scored.

        Args:
            hidden: the trunk's states at the prefixes.
            candidates: token ids; default: the whole vocabulary, in order.
        """
        answers = self.marginal(hidden, candidates)
        if self.baseline is not None:
            answers = answers + self.baseline(hidden.to(self.up.dtype)).unsqueeze(-2)
        return answers

    def marginal(
        self, hidden: Float[Tensor, "*prefixes hidden"], candidates: Int[Tensor, "*prefixes k"] | None = None
    ) -> Float[Tensor, "*prefixes k attributes"]:
        """⟨U V_a h, e_v⟩ alone: what a token adds to its prefix's baseline."""
        narrow = torch.einsum("ard,...d->...ar", self.down, hidden.to(self.up.dtype))
        queries = narrow @ self.up.T * self.embedding_scale
        (embedding,) = self._embedding
        if candidates is not None and candidates.shape[-1] < embedding.shape[0] // MANY:
            return embedding[candidates].to(queries.dtype) @ queries.transpose(-1, -2)
        every = (queries @ embedding.to(queries.dtype).T).transpose(-1, -2)
        return every if candidates is None else every.take_along_dim(candidates[..., None], -2)

    def next_rewards(
        self, hidden: Float[Tensor, "rows hidden"], candidates: Int[Tensor, "rows k"] | None
    ) -> Float[Tensor, "rows k attributes"]:
        """The rewards of next tokens. An id past the vocabulary, as padded models have, counts as the last id."""
        if candidates is not None:
            candidates = candidates.clamp_max(self.vocabulary_size - 1)
        return self.link(self(hidden, candidates))

    def score_prefixes(self, texts: EncodedTexts) -> PrefixRewards:
        """Answer for each token from the state before it; the first slot has none."""
        known = texts.mask & functional.pad(texts.mask[:, :-1], (1, 0))
        before = functional.pad(texts.hidden[:, :-1], (0, 0, 1, 0))
        return PrefixRewards(self(before, texts.ids[..., None]).squeeze(-2), known, before)

    def score_candidates(
        self,
        encoder: PrefixEncoder,
        ids: Int[Tensor, "rows tokens"],
        mask: Bool[Tensor, "rows tokens"],
        candidates: Int[Tensor, "rows places k"],
        slots: Int[Tensor, "rows places"],
    ) -> Float[Tensor, "rows places k attributes"]:
        """Gather the candidates' rewards from one forward of the texts."""
        before = self.score_prefixes(encoder.encode(ids, mask)).before[:, -ids.shape[1] :]
        return self.link(self(take_slots(before, slots), candidates))

    def score_next_tokens(
        self, encoder: PrefixEncoder, prefixes: Iterable[PromptBatch], tokens: Int[Tensor, " tokens"]
    ) -> Float[Tensor, "prefixes tokens attributes"]:
        """One forward for each prefix, then one product in float64."""
        hidden = torch.cat([last_hidden(encoder, prefix) for prefix in prefixes])
        return self.in_double()(hidden.double())[:, tokens]

    def in_double(self) -> "QHead":
        """A copy in float64; the embedding is shared, and widened where it is gathered."""
        return copy.deepcopy(self, self.shared()).double()

    def shared(self) -> dict[int, Tensor]:
        """The output embedding."""
        (embedding,) = self._embedding
        return {id(embedding): embedding}

    def predict(
        self, before: Float[Tensor, "rows tokens hidden"], candidates: Int[Tensor, "rows tokens k"]
    ) -> Float[Tensor, "rows tokens k attributes"]:
        """The answers for other tokens from the states before them."""
        return self(before, candidates)

    def penalty(
        self,
        before: Float[Tensor, "rows tokens hidden"],
        vocabulary: int,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "rows tokens"]:
        """The zero-delta regulariser: ⟨W h, e_u⟩² of one uniformly random token u at each position (2407.04615).

        It is averaged over attributes.

        It pulls tokens that training never shows to the prefix's baseline. Softmax ignores the baseline, so the base
        model is left alone where the reward knows nothing.
        """
        drawn = torch.randint(vocabulary, before.shape[:2], generator=generator, device=before.device)
        return self.marginal(before, drawn[..., None]).squeeze(-2).float().square().mean(-1)

    def start(self, encoder: PrefixEncoder, host: KVCache | None = None) -> RewardState:
        """A state that runs the trunk once per step."""
        return QState(self, encoder, host)

    def start_on_host(self, host: KVCache, reader: Reader, norm: nn.Module | None) -> RewardState:
        """A state that runs no trunk."""
        return HostedQState(self, host, reader, norm)


@runtime_checkable
class ScoresNextTokens(Protocol):
    """A head that scores every next token from one hidden state."""

    def next_rewards(
        self, hidden: Float[Tensor, "rows hidden"], candidates: Int[Tensor, "rows k"] | None
    ) -> Float[Tensor, "rows k attributes"]:
        """The rewards of candidates, or of the whole vocabulary."""


@final
class QState:
    """ARM with its own trunk: each step costs one forward of one token, for any number of candidates."""

    def __init__(self, head: ScoresNextTokens, encoder: PrefixEncoder, host: KVCache | None = None):
        self._head, self._encoder = head, encoder
        self._cache = encoder.cache([encoder.reader], host)

    def prefill(self, ids: Int[Tensor, "rows slots"], mask: Bool[Tensor, "rows slots"]) -> None:
        """Encode prompts, BOS before them, in one forward."""
        self._cache.clear()
        self._cache.feed(*self._encoder.with_bos(ids, mask))

    def rewards(self, candidates: Int[Tensor, "rows k"] | None) -> Float[Tensor, "rows k attributes"]:
        """Score candidates from the hidden state of each prefix."""
        return self._head.next_rewards(self._cache.hidden(self._encoder.reader), candidates)

    def advance(self, tokens: Int[Tensor, " rows"], choice: Int[Tensor, " rows"] | None = None) -> None:
        """Append a token to every prefix, in one forward."""
        self._cache.feed(tokens[:, None])

    def extend(self, tokens: Int[Tensor, "rows new"], mask: Bool[Tensor, "rows new"]) -> None:
        """Append several tokens to every prefix, in one forward."""
        self._cache.feed(tokens, mask)

    def draft_rewards(
        self, candidates: Int[Tensor, "rows places k"] | None, places: int
    ) -> Float[Tensor, "rows places k attributes"]:
        """Score candidates from the hidden states of the last tokens."""
        return _rewards_in_places(self._head, self._cache.recent(self._encoder.reader, places), candidates)

    def retract(self, tokens: Sequence[int]) -> None:
        """Take back the last tokens of each prefix."""
        self._cache.retract(tokens)

    def select(self, rows: Int[Tensor, " selected"]) -> None:
        """Fork, re-order or drop prefixes."""
        self._cache.select(rows)

    def rollback(self, tokens: int) -> None:
        """Take back the last tokens of every prefix."""
        self._cache.rollback(tokens)

    def join(self, other: RewardState) -> None:
        """Append the prefixes of another state of the same reward."""
        assert isinstance(other, QState)
        self._cache.join(other._cache)


@final
class HostedQState:
    """ARM on the steered model's own hidden states, or a ladder over them. The host's cache holds the prefixes.

    Attributes:
        skips_drafts: whether the head is slow; see `SkipsDrafts`.
    """

    def __init__(
        self,
        head: ScoresNextTokens,
        host: KVCache,
        reader: Reader,
        norm: nn.Module | None,
        skips_drafts: bool = False,
    ):
        self._head, self._host, self._reader, self._norm = head, host, reader, norm
        self.skips_drafts = skips_drafts

    def prefill(self, ids: Int[Tensor, "rows slots"], mask: Bool[Tensor, "rows slots"]) -> None:
        """Do nothing: the host has read the prompts."""

    def rewards(self, candidates: Int[Tensor, "rows k"] | None) -> Float[Tensor, "rows k attributes"]:
        """Score candidates from the host's state; the final norm is applied to a state from below the top."""
        hidden = self._host.hidden(self._reader)
        return self._head.next_rewards(hidden if self._norm is None else self._norm(hidden), candidates)

    def advance(self, tokens: Int[Tensor, " rows"], choice: Int[Tensor, " rows"] | None = None) -> None:
        """Do nothing: the host advances."""

    def extend(self, tokens: Int[Tensor, "rows new"], mask: Bool[Tensor, "rows new"]) -> None:
        """Do nothing: the host reads the tokens."""

    def draft_rewards(
        self, candidates: Int[Tensor, "rows places k"] | None, places: int
    ) -> Float[Tensor, "rows places k attributes"]:
        """Score candidates from the host's states at the last tokens."""
        hidden = self._host.recent(self._reader, places)
        return _rewards_in_places(self._head, hidden if self._norm is None else self._norm(hidden), candidates)

    def retract(self, tokens: Sequence[int]) -> None:
        """Do nothing: the host retracts."""

    def select(self, rows: Int[Tensor, " selected"]) -> None:
        """Do nothing: the host selects."""

    def rollback(self, tokens: int) -> None:
        """Do nothing: the host rolls back."""

    def join(self, other: RewardState) -> None:
        """Do nothing: the host joins."""


def _rewards_in_places(
    head: ScoresNextTokens, hidden: Float[Tensor, "rows places hidden"], candidates: Int[Tensor, "rows places k"] | None
) -> Float[Tensor, "rows places k attributes"]:
    flat = head.next_rewards(hidden.flatten(0, 1), None if candidates is None else candidates.flatten(0, 1))
    return flat.unflatten(0, hidden.shape[:2])


def last_hidden(encoder: PrefixEncoder, prefix: PromptBatch) -> Float[Tensor, "rows hidden"]:
    """The trunk's state at the last token of each prefix, in one forward."""
    cache = encoder.cache([encoder.reader])
    cache.feed(*encoder.with_bos(prefix.ids, prefix.mask))
    return cache.hidden(encoder.reader)
