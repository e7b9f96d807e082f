"""The trunk of a reward: the first layers of a base, a ladder over them if it has one, and how prefixes are fed."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from trimtab.errors import InvalidSetting
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.kv_cache import KVCache
from trimtab.models.layers import remove_final_norm, share_first_layers
from trimtab.models.masks import causal_columns
from trimtab.models.quantized import is_quantized
from trimtab.models.quicken import quicken
from trimtab.models.side_network import LAST, Reader
from trimtab.rewards.adapters import UNTRAINED_TRUNKS, add_adapters
from trimtab.rewards.card import RewardCard
from trimtab.rewards.ladder import Ladder


class EncodedTexts(NamedTuple):
    """Left-padded texts and the trunk's hidden state at each token.

    Attributes:
        ids: token ids, with BOS in front where the reward expects one.
        mask: False at padding.
        hidden: the hidden state of the prefix that ends at each token.
        opened: whether BOS was put in front, so that the first token of a text has a prefix too.
    """

    ids: Int[Tensor, "rows slots"]
    mask: Bool[Tensor, "rows slots"]
    hidden: Float[Tensor, "rows slots hidden"]
    opened: bool


class TappedTexts(NamedTuple):
    """Left-padded texts as a ladder reads them.

    Attributes:
        mask: False at padding; BOS is part of the texts.
        states: the trunk's hidden states at each of the ladder's taps.
    """

    mask: Bool[Tensor, "rows slots"]
    states: Float[Tensor, "rows slots taps hidden"]


@final
@dataclass(frozen=True)
class PrefixEncoder:
    """A trunk and the token that opens its texts.

    Attributes:
        trunk: a decoder without its language-model head.
        bos_token_id: the token put before every text, unless the text starts with it; None for none.
        ladder: the side network that reads the trunk; None for none.
    """

    trunk: PreTrainedModel
    bos_token_id: int | None
    ladder: Ladder | None = None

    @property
    def vocabulary_size(self) -> int:
        """How many token ids the trunk reads."""
        return self.trunk.get_input_embeddings().weight.shape[0]

    def encode(
        self,
        ids: Int[Tensor, "rows tokens"],
        mask: Bool[Tensor, "rows tokens"],
        tapped: Float[Tensor, "rows slots taps hidden"] | None = None,
    ) -> EncodedTexts:
        """The hidden states of left-padded texts, in one forward.

        Args:
            ids: token ids.
            mask: False at padding.
            tapped: what `tapped` returned for these texts, for a ladder; then the trunk does not run. It may lack
                columns that are padding in every row.
        """
        if self.ladder is None:
            ids, mask = self.with_bos(ids, mask)
            hidden = self._run(ids, mask).last_hidden_state
        else:
            states = self.tapped(ids, mask).states if tapped is None else tapped
            ids, mask = self.with_bos(ids, mask)
            states = functional.pad(states, (0, 0, 0, 0, mask.shape[1] - states.shape[1], 0))
            hidden = self.ladder(states.unbind(2), causal_columns(mask, mask.shape[1]))
        return EncodedTexts(ids, mask, hidden, self.bos_token_id is not None)

    def tapped(self, ids: Int[Tensor, "rows tokens"], mask: Bool[Tensor, "rows tokens"]) -> TappedTexts:
        """The states of left-padded texts that the ladder reads, BOS included."""
        assert self.ladder is not None
        ids, mask = self.with_bos(ids, mask)
        hidden = self._run(ids, mask, output_hidden_states=True).hidden_states
        return TappedTexts(mask, torch.stack([hidden[tap] for tap in self.ladder.taps], dim=2))

    def _run(self, ids: Int[Tensor, "rows slots"], mask: Bool[Tensor, "rows slots"], **options: bool) -> ModelOutput:
        positions = (mask.cumsum(1) - 1).clamp_min(0)
        return self.trunk(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False, **options)

    def with_bos(
        self, ids: Int[Tensor, "rows tokens"], mask: Bool[Tensor, "rows tokens"]
    ) -> tuple[Int[Tensor, "rows slots"], Bool[Tensor, "rows slots"]]:
        """Put BOS right before the first token of each left-padded row that does not start with it."""
        if self.bos_token_id is None:
            return ids, mask
        start = mask.shape[1] - mask.sum(1, keepdim=True)
        ids, mask = functional.pad(ids, (1, 0)), functional.pad(mask, (1, 0))
        first = ids.gather(1, (start + 1).clamp_max(ids.shape[1] - 1))
        missing = (first != self.bos_token_id) | ~mask.any(1, keepdim=True)
        before_start = torch.arange(ids.shape[1], device=ids.device) == start
        return ids.masked_fill(before_start, self.bos_token_id), mask | (before_start & missing)

    @property
    def reader(self) -> Reader:
        """What has the state of a prefix, in the trunk's cache: the ladder, or the last layer."""
        return LAST if self.ladder is None else self.ladder

    def cache(self, readers: Iterable[Reader] = (), host: KVCache | None = None) -> KVCache:
        """An empty KV cache of the trunk.

        Args:
            readers: what the cache keeps of the hidden states.
            host: the cache of the steered model; its prefix cache and its usage count serve the trunk too.

        Raises:
            InvalidSetting: the trunk is on another device than the steered model.
        """
        return KVCache(self.trunk, readers) if host is None else host.beside(self.trunk, readers)


def build_trunk(base: FrozenLM, card: RewardCard) -> PreTrainedModel:
    """The first layers of a base, with fresh adapters or a copy of the weights if the card says so.

    A trunk that is not trained shares the base's tensors.

    Raises:
        InvalidSetting: more layers than the base has, a rank above its hidden size, or a base that is quantized and
            takes no adapters.
    """
    if card.layers > base.layers:
        raise InvalidSetting(f"got layers={card.layers}, expected at most the {base.layers} of {base.name}")
    if card.trunk == "lora" and card.lora_rank > (hidden_size := base.output_embedding.shape[1]):
        raise InvalidSetting(f"got lora_rank={card.lora_rank}, expected at most the hidden size, {hidden_size}")
    trunk = share_first_layers(base.body, card.layers)
    if card.trunk == "ladder" and card.layers < base.layers:
        remove_final_norm(trunk)  # the steered model, which has more layers, gives the bare state of this depth
    if card.trunk == "full":
        return _trainable_copy(trunk)
    return add_adapters(trunk, card) if card.trunk == "lora" else trunk


def build_ladder(base: FrozenLM, card: RewardCard) -> Ladder | None:
    """A fresh ladder of the card's shape, in float32; None if the card has none.

    Raises:
        InvalidSetting: its width does not fit its heads.
    """
    if card.trunk != "ladder":
        return None
    return quicken(Ladder(base.output_embedding.shape[1], card.taps, card.ladder_width, card.ladder_heads))


def _trainable_copy(trunk: PreTrainedModel) -> PreTrainedModel:
    if is_quantized(trunk):
        raise InvalidSetting(
            f"got a trunk to train whole, but {type(trunk).__name__} is quantized; use another: {UNTRAINED_TRUNKS}"
        )
    return copy.deepcopy(trunk).requires_grad_(True)
