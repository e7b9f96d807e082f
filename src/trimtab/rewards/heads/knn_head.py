"""RTD's head: next tokens that followed the nearest of some stored states (2409.20181)."""

import math
from collections.abc import Iterable
from typing import ClassVar, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from trimtab.errors import InvalidSetting
from trimtab.models.frozen_lm import PromptBatch
from trimtab.models.kv_cache import KVCache
from trimtab.models.side_network import Reader
from trimtab.rewards.card import RewardCard
from trimtab.rewards.heads.base import PrefixRewards, RewardHead, make_link, take_slots
from trimtab.rewards.heads.lm_head import LMHead
from trimtab.rewards.heads.q_head import HostedQState, QState, last_hidden
from trimtab.rewards.trunk import EncodedTexts, PrefixEncoder
from trimtab.steering.reward import RewardState

TOKENS_AT_ONCE = 256  # whose distances to all keys are in memory


@final
class KNNHead(RewardHead):
    """A datastore of pairs of a hidden state and the token that followed, mixed into the base (2409.20181).

        q(v | x) = Σ over the K keys nearest to h by L2, whose token is v, of softmax(−distance / T)
        r(v | x) = log(λ q(v | x) + (1 − λ) p(v | x)) − log p(v | x)

    h is the base's last hidden state of the prefix, p its next-token distribution. Steer with β = 1: the sum of log p
    and r is the paper's mixture. At λ = 0 the reward is 0.

    The neighbours are found exactly, by one product with all keys on the model's device, so that no step waits for
    another library's index.

    Differs from the paper: candidates are cut from p first, so a token of q that is none of the base's top-k is not
    written (`top_k=None` cuts none). p is that of the output embedding, without a bias or a soft cap that the base may
    have behind it. There is one head: the paper also splits h.

    Args:
        embedding: the output embedding; never saved.
        keys: how many pairs are stored.
        neighbours: K.
        distance_temperature: T.
        mix: λ.
    """

    distillation_targets: ClassVar[frozenset[str]] = frozenset()
    keys: Float[Tensor, "keys hidden"]
    tokens: Int[Tensor, " keys"]

    def __init__(
        self,
        embedding: Float[Tensor, "vocabulary hidden"],
        keys: int,
        neighbours: int,
        distance_temperature: float,
        mix: float,
    ):
        super().__init__()
        self.attributes = 1
        self.link = make_link("identity")
        self.neighbours, self.distance_temperature, self.mix = min(neighbours, keys), distance_temperature, mix
        self.register_buffer("keys", torch.zeros(keys, embedding.shape[1]))
        self.register_buffer("tokens", torch.zeros(keys, dtype=torch.int32))
        self._base = (LMHead(embedding),)  # in a tuple: no part of the state dict

    @classmethod
    def build(cls, card: RewardCard, embedding: Float[Tensor, "vocabulary hidden"]) -> "KNNHead":
        """An empty datastore of the card's size.

        Raises:
            InvalidSetting: the card has no keys, several attributes, a link, a baseline, or a trunk that is trained.
        """
        if not card.keys or len(card.attributes) > 1 or card.link != "identity" or card.baseline:
            raise InvalidSetting(
                f"got {card.keys} keys, {len(card.attributes)} attributes, link={card.link!r} and "
                f"baseline={card.baseline} with a kNN head, expected keys, one attribute, 'identity' and False"
            )
        if card.trunk != "frozen":
            raise InvalidSetting(f"got trunk={card.trunk!r} with a kNN head, expected trunk='frozen'")
        return cls(embedding, card.keys, card.neighbours, card.distance_temperature, card.mix)

    def scale_logits(self, scale: float) -> None:
        """Multiply the logits of p by this factor."""
        self._base[0].scale_logits(scale)

    @classmethod
    def describe(cls, card: RewardCard) -> str:
        """The head and its settings."""
        return f"kNN head of {card.keys} keys, K = {card.neighbours}, λ = {card.mix:g}"

    def nearest(self, hidden: Float[Tensor, "rows hidden"]) -> tuple[Float[Tensor, "rows k"], Int[Tensor, "rows k"]]:
        """The weights of the K nearest keys of each state, and their tokens."""
        hidden = hidden.to(self.keys.dtype)
        places = torch.cdist(hidden, self.keys).topk(self.neighbours, largest=False).indices
        distances = (hidden[:, None] - self.keys[places]).float().norm(dim=-1)  # a product of all keys rounds more
        return (-distances / self.distance_temperature).softmax(-1), self.tokens[places].long()

    def next_rewards(
        self, hidden: Float[Tensor, "rows hidden"], candidates: Int[Tensor, "rows k"] | None
    ) -> Float[Tensor, "rows k 1"]:
        """The rewards of next tokens. An id past the vocabulary, as padded models have, counts as the last id."""
        (base,) = self._base
        log_p = base.log_probs(hidden, candidates)
        weights, tokens = self.nearest(hidden)
        if candidates is None:
            q = torch.zeros_like(log_p).scatter_add_(1, tokens, weights)
        else:
            q = ((candidates[..., None] == tokens[:, None]) * weights[:, None]).sum(-1)
        if not self.mix:
            return torch.zeros_like(log_p)[..., None]
        kept = torch.full_like(log_p, math.log1p(-self.mix))
        return torch.logaddexp(math.log(self.mix) + q.log() - log_p, kept)[..., None]

    def score_prefixes(self, texts: EncodedTexts) -> PrefixRewards:
        """Answer for each token from the state before it; the first slot has none."""
        known = texts.mask & functional.pad(texts.mask[:, :-1], (1, 0))
        before = functional.pad(texts.hidden[:, :-1], (0, 0, 1, 0))
        parts = zip(before.flatten(0, 1).split(TOKENS_AT_ONCE), texts.ids.flatten().split(TOKENS_AT_ONCE), strict=True)
        found = torch.cat([self.next_rewards(states, ids[:, None]) for states, ids in parts])
        return PrefixRewards(found.view(*texts.ids.shape, 1), known, before)

    def score_candidates(
        self,
        encoder: PrefixEncoder,
        ids: Int[Tensor, "rows tokens"],
        mask: Bool[Tensor, "rows tokens"],
        candidates: Int[Tensor, "rows places k"],
        slots: Int[Tensor, "rows places"],
    ) -> Float[Tensor, "rows places k 1"]:
        """Gather the candidates' rewards from one forward of the texts."""
        hidden = encoder.encode(ids, mask).hidden
        before = functional.pad(hidden[:, :-1], (0, 0, 1, 0))[:, -ids.shape[1] :]
        rows = zip(take_slots(before, slots), candidates, strict=True)
        return torch.stack([self.next_rewards(*row) for row in rows])

    def score_next_tokens(
        self, encoder: PrefixEncoder, prefixes: Iterable[PromptBatch], tokens: Int[Tensor, " tokens"]
    ) -> Float[Tensor, "prefixes tokens 1"]:
        """One forward for each prefix."""
        hidden = torch.cat([last_hidden(encoder, prefix) for prefix in prefixes])
        return self.next_rewards(hidden, None)[:, tokens].double()

    def shared(self) -> dict[int, Tensor]:
        """The output embedding."""
        (base,) = self._base
        return base.shared()

    def start(self, encoder: PrefixEncoder, host: KVCache | None = None) -> RewardState:
        """A state that runs the base once per step, as beside another model of its tokenizer."""
        return QState(self, encoder, host)

    def start_on_host(self, host: KVCache, reader: Reader, norm: nn.Module | None) -> RewardState:
        """A state on the steered model's own hidden states; compared with all keys, they are too slow for drafts."""
        return HostedQState(self, host, reader, norm, skips_drafts=True)
