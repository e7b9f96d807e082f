"""Rewards of one name for several bases, NAME and NAME@BASE: which of them serves a language model. No torch here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from trimtab.rewards.base_path import earlier_place, is_located
from trimtab.rewards.card import RewardCard

if TYPE_CHECKING:
    from trimtab.models.frozen_lm import FrozenLM

AT = "@"  # no Hub id has it
OWN_LAYERS = ("lora", "full")  # trunks that run beside any model of their tokenizer


@final
@dataclass(frozen=True)
class Fingerprints:
    """The fingerprints of a language model, as cards have them; None where its weights are not loaded."""

    tokenizer: str
    base: str | None = None
    weights: str | None = None

    @classmethod
    def of(cls, lm: "FrozenLM") -> "Fingerprints":
        """Those of a loaded model."""
        return cls(lm.codec.fingerprint, lm.base_fingerprint, lm.base_weights_fingerprint)


def name_without_base(name: str) -> str:
    """The name that the rewards for several bases share."""
    return name.partition(AT)[0]


def best_variant(cards: Mapping[str, RewardCard], model: Fingerprints) -> str:
    """The name of the reward that serves a language model; the first if none does.

    One that reads the model's own states comes first, since no second model runs, then one with layers that share the
    model's weights, then one with layers of another base of the tokenizer, then one that reads the states of such a
    base. Another base runs beside the model, if it is known where that is.

    Args:
        cards: of one name, in order of preference.
        model: the model to steer.
    """
    return max(cards, key=lambda name: _fit(cards[name], model))


def _fit(card: RewardCard, model: Fingerprints) -> int:
    if card.tokenizer_fingerprint != model.tokenizer:
        return 0
    if model.base and model.weights:
        if card.is_base(model.base, model.weights):
            return 3 if card.trunk in OWN_LAYERS else 4
        if not is_located(earlier_place(card.base)):
            return 0
    return 2 if card.trunk in OWN_LAYERS else 1
