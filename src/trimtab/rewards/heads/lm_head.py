"""GenARM's head: the log-probability of every next token, by the base's own language-model head on a trained trunk."""

from collections.abc import Iterable
from typing import ClassVar, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from trimtab.errors import InvalidSetting
from trimtab.models.frozen_lm import PromptBatch
from trimtab.models.kv_cache import KVCache
from trimtab.rewards.card import RewardCard
from trimtab.rewards.heads.base import PrefixRewards, RewardHead, make_link, take_slots
from trimtab.rewards.heads.q_head import QState, last_hidden
from trimtab.rewards.trunk import EncodedTexts, PrefixEncoder
from trimtab.steering.reward import RewardState

TOKENS_AT_ONCE = 1024  # whose logits over the whole vocabulary are in memory


@final
class LMHead(RewardHead):
    """GenARM's autoregressive reward model (2410.08193): a language model whose log-probabilities are the rewards.

        r(v | x) = log p_r(v | x) = log softmax(s E h)_v

    h is the state of a trunk that is trained, E is the base's frozen output embedding, and s is the factor of its
    logits, which few models have. The reward of a text is the sum
    over its tokens, so the answers are differences.

    Differs from the paper: the head is frozen, and has no bias and no soft cap that the base may have behind it.

    Args:
        embedding: the output embedding; never trained, never saved.
        scale: the factor of the logits.
    """

    distillation_targets: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, embedding: Float[Tensor, "vocabulary hidden"], scale: float = 1.0):
        super().__init__()
        self.attributes = 1
        self.link = make_link("identity")
        self._embedding = (embedding,)  # in a tuple: neither a parameter nor part of the state dict
        self._scale = scale

    @classmethod
    def build(cls, card: RewardCard, embedding: Float[Tensor, "vocabulary hidden"]) -> "LMHead":
        """The head on the base's output embedding.

        Raises:
            InvalidSetting: the card has several attributes, a link, or a baseline.
        """
        if len(card.attributes) > 1 or card.link != "identity" or card.baseline:
            raise InvalidSetting(
                f"got {len(card.attributes)} attributes, link={card.link!r} and baseline={card.baseline} with an LM "
                "head, expected one attribute, link='identity' and baseline=False"
            )
        return cls(embedding)

    def scale_logits(self, scale: float) -> None:
        """Multiply the logits by this factor."""
        self._scale = scale

    @classmethod
    def describe(cls, card: RewardCard) -> str:
        """The head; it has no settings."""
        return "LM head, returns log-probabilities"

    def forward(self, hidden: Float[Tensor, "*prefixes hidden"]) -> Float[Tensor, "*prefixes vocabulary"]:
        """The logits of every next token, in float32."""
        (embedding,) = self._embedding
        return functional.linear(hidden.to(embedding.dtype), embedding).float() * self._scale

    def log_probs(
        self, hidden: Float[Tensor, "*prefixes hidden"], candidates: Int[Tensor, "*prefixes k"] | None
    ) -> Float[Tensor, "*prefixes k"]:
        """log p of candidates, or of the whole vocabulary. An id past the vocabulary counts as the last id."""
        logits = self(hidden)
        if candidates is None:
            return logits.log_softmax(-1)
        return logits.gather(-1, candidates.clamp_max(logits.shape[-1] - 1)) - logits.logsumexp(-1, keepdim=True)

    def next_rewards(
        self, hidden: Float[Tensor, "rows hidden"], candidates: Int[Tensor, "rows k"] | None
    ) -> Float[Tensor, "rows k 1"]:
        """The rewards of next tokens."""
        return self.log_probs(hidden, candidates)[..., None]

    def score_prefixes(self, texts: EncodedTexts) -> PrefixRewards:
        """Answer for each token from the state before it; the first slot has none.

        In training the logits are computed again for the gradient: those of a batch do not fit in memory.
        """
        known = texts.mask & functional.pad(texts.mask[:, :-1], (1, 0))
        before = functional.pad(texts.hidden[:, :-1], (0, 0, 1, 0))
        return PrefixRewards(self.token_log_probs(before, texts.ids), known, before)

    def token_log_probs(
        self, before: Float[Tensor, "rows tokens hidden"], ids: Int[Tensor, "rows tokens"]
    ) -> Float[Tensor, "rows tokens 1"]:
        """log p of each token from the state before it, a part of the tokens at a time."""
        parts = zip(before.flatten(0, 1).split(TOKENS_AT_ONCE), ids.flatten().split(TOKENS_AT_ONCE), strict=True)
        found = [checkpoint(self.log_probs, states, some[:, None], use_reentrant=False) for states, some in parts]
        return torch.cat(found).view(*ids.shape, 1)

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
        return torch.stack(
            [self.log_probs(*row) for row in zip(take_slots(before, slots), candidates, strict=True)]
        ).unsqueeze(-1)

    def score_next_tokens(
        self, encoder: PrefixEncoder, prefixes: Iterable[PromptBatch], tokens: Int[Tensor, " tokens"]
    ) -> Float[Tensor, "prefixes tokens 1"]:
        """One forward for each prefix, then one product in float64."""
        hidden = torch.cat([last_hidden(encoder, prefix) for prefix in prefixes]).double()
        (embedding,) = self._embedding
        return (hidden @ embedding.double().T * self._scale).log_softmax(-1)[:, tokens, None]

    def shared(self) -> dict[int, Tensor]:
        """The output embedding."""
        (embedding,) = self._embedding
        return {id(embedding): embedding}

    def start(self, encoder: PrefixEncoder, host: KVCache | None = None) -> RewardState:
        """A state that runs the trunk once per step, as ARM's does."""
        return QState(self, encoder, host)
