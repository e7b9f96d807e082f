"""The interface of a reward head: everything that differs from head to head."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from trimtab.errors import InvalidSetting
from trimtab.models.frozen_lm import PromptBatch
from trimtab.models.kv_cache import KVCache
from trimtab.models.side_network import Reader
from trimtab.rewards.card import Link, RewardCard
from trimtab.rewards.trunk import EncodedTexts, PrefixEncoder
from trimtab.steering.reward import RewardState


class PrefixRewards(NamedTuple):
    """The reward of every prefix of some texts.

    Attributes:
        values: the head's answer for the text up to and including each token, before `head.link`; meaningless where
            `known` is False.
        known: False at padding, at BOS, and at a first token that the head cannot score.
        before: the hidden state from which the head scored each token.
    """

    values: Float[Tensor, "rows tokens attributes"]
    known: Bool[Tensor, "rows tokens"]
    before: Float[Tensor, "rows tokens hidden"]


class RewardHead(nn.Module, ABC):
    """Rewards from the hidden states of a trunk.

    A head returns answers; `link` turns answers into rewards. Training sees answers, steering and scoring see rewards.
    Its methods must agree with each other: run the laws in `trimtab.testing`.

    Attributes:
        prefix_value_name: the name of the linear map from a hidden state to the reward of its prefix. A head that
            starts from another head's weights copies this map. None for a head that has none.
        distillation_targets: the targets of `train_from_teacher` that the head can learn.
        scores_behind: whether a token is scored from the state at the token, not from the state before it.
        max_candidates: the most candidates that a step can score; None for the whole vocabulary.
        attributes: how many rewards the head returns.
        link: from answers to rewards; see `make_link`.
    """

    prefix_value_name: ClassVar[str | None] = None
    distillation_targets: ClassVar[frozenset[str]] = frozenset({"orig"})
    scores_behind: ClassVar[bool] = False
    max_candidates: ClassVar[int | None] = None
    attributes: int
    link: nn.Module

    @classmethod
    @abstractmethod
    def build(cls, card: RewardCard, embedding: Float[Tensor, "vocabulary hidden"]) -> "RewardHead":
        """A fresh head.

        Args:
            card: its settings.
            embedding: the base's output embedding.

        Raises:
            InvalidSetting: the card has a setting that does not fit the base.
        """

    def scale_logits(self, scale: float) -> None:
        """Multiply logits as the base does. Most heads have none."""

    @classmethod
    @abstractmethod
    def describe(cls, card: RewardCard) -> str:
        """The head and its settings in a few words."""

    @abstractmethod
    def score_prefixes(self, texts: EncodedTexts) -> PrefixRewards:
        """Answer for every prefix of some texts, BOS included."""

    @abstractmethod
    def score_candidates(
        self,
        encoder: PrefixEncoder,
        ids: Int[Tensor, "rows tokens"],
        mask: Bool[Tensor, "rows tokens"],
        candidates: Int[Tensor, "rows places k"],
        slots: Int[Tensor, "rows places"],
    ) -> Float[Tensor, "rows places k attributes"]:
        """The rewards of other tokens in some slots; see `candidate_scores.score_candidates`."""

    @abstractmethod
    def score_next_tokens(
        self, encoder: PrefixEncoder, prefixes: Iterable[PromptBatch], tokens: Int[Tensor, " tokens"]
    ) -> Float[Tensor, "prefixes tokens attributes"]:
        """The answers for the same next tokens after each prefix, in float64, for the spectrum.

        Args:
            encoder: the trunk.
            prefixes: batches of one row each.
            tokens: token ids.
        """

    @abstractmethod
    def start(self, encoder: PrefixEncoder, host: KVCache | None = None) -> RewardState:
        """A fresh per-request state that runs the trunk.

        Args:
            encoder: the trunk.
            host: the steered model's cache, whose prefix cache and usage count the trunk shares.
        """

    def start_on_host(self, host: KVCache, reader: Reader, norm: nn.Module | None) -> RewardState:
        """A fresh per-request state that reads the steered model's hidden states; only if `HeadKind.reads_host`.

        Args:
            host: the steered model's cache.
            reader: the one of its readers to ask: a depth, or a ladder.
            norm: applied to the state first; None for none.
        """
        raise InvalidSetting(f"got a {type(self).__name__}, expected a head that can read the steered model's state")

    def predict(
        self, before: Float[Tensor, "rows tokens hidden"], candidates: Int[Tensor, "rows tokens k"]
    ) -> Float[Tensor, "rows tokens k attributes"]:
        """The answers for other tokens, from `PrefixRewards.before`; only with the distillation target "candidates"."""
        raise InvalidSetting(f"got a {type(self).__name__}, expected a head that scores tokens before they are read")

    def penalty(
        self,
        before: Float[Tensor, "rows tokens hidden"],
        vocabulary: int,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "rows tokens"] | None:
        """The regulariser of training at each token; None for a head that has none.

        Args:
            before: as in `PrefixRewards`.
            vocabulary: how many token ids to draw from.
            generator: for the draw; default torch's own.
        """
        return None

    def shared(self) -> dict[int, Tensor]:
        """The tensors of the base that a copy of the head shares, by `id`, as `copy.deepcopy` takes them."""
        return {}

    @property
    def prefix_value(self) -> nn.Linear | None:
        """The linear map called `prefix_value_name`; None if the head has none."""
        return None if self.prefix_value_name is None else getattr(self, self.prefix_value_name)


def make_link(link: Link) -> nn.Module:
    """From answers to rewards: the identity, or the sigmoid for a head trained by cross-entropy."""
    return nn.Sigmoid() if link == "sigmoid" else nn.Identity()


def take_slots(
    states: Float[Tensor, "rows tokens hidden"], slots: Int[Tensor, "rows places"]
) -> Float[Tensor, "rows places hidden"]:
    """The states in some slots of each row."""
    return states.gather(1, slots[..., None].expand(*slots.shape, states.shape[-1]))
