"""Whole texts scored by a reward with a V-head, in the reward's own tokens; what texts share is encoded once."""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from trimtab.models.packed_texts import PackedTexts
from trimtab.models.prefix_cache import PrefixCache
from trimtab.models.usage import Usage
from trimtab.rewards.reward_model import RewardModel
from trimtab.rewards.scored_texts import encode_scored

SHARED_BY = 2  # texts; the prefix cache keeps what as many have in common


@final
class TextScorer:
    """Scores texts by a reward with a V-head, whose tokenizer encodes them, with its own BOS before them.

    Texts that share a beginning are encoded in one row under a mask: each shared token runs once, and not at all if the
    prefix cache holds it.

    Args:
        reward: the reward.
        prefix_cache: prefixes that were encoded before; receives what several texts of a call have in common.
        usage: counts tokens and forward calls; default: the prefix cache's count.

    Raises:
        InvalidSetting: it has another head, whose score of a text is not a function of its last state.
    """

    def __init__(self, reward: RewardModel, prefix_cache: PrefixCache, usage: Usage | None = None):
        reward.card.check_scores_texts(reward.name)
        self._reward, self._prefix_cache, self._usage = reward, prefix_cache, usage

    def score(self, texts: Sequence[str]) -> Float[Tensor, "texts attributes"]:
        """The reward of each whole text, after the head's link, in float32.

        Raises:
            InvalidPrompt: a text is longer than the reward's context.
        """
        return self.score_ids(self.encode(texts))

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The reward's tokens of each text. An empty one is the token that opens a text: BOS, or EOS without BOS.

        Raises:
            InvalidPrompt: a text is longer than the reward's context.
        """
        encoded = {text: self._encode(text) for text in dict.fromkeys(texts)}
        return [encoded[text] for text in texts]

    @torch.inference_mode()
    def score_ids(self, ids: Sequence[Sequence[int]]) -> Float[Tensor, "texts attributes"]:
        """The reward of each text that `encode` returned."""
        encoder, head = self._reward.prefix_encoder, self._reward.network.head
        packed = PackedTexts(encoder.trunk, self._prefix_cache, ids, [1] * len(ids), self._usage)
        return head.link(head(torch.cat(packed.states(-1, SHARED_BY)))).float()

    def _encode(self, text: str) -> list[int]:
        card, codec = self._reward.card, self._reward.base.codec
        opening = [] if card.bos_token_id is None else [card.bos_token_id]
        if not text and codec.bos_token_id is not None:
            return opening or [codec.bos_token_id]
        ids = encode_scored(card, codec, text)
        return ids if ids[:1] == opening else [*opening, *ids]
