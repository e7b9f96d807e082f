"""Load the rewards that a server registers: bundled ones that fit, or those that were named."""

from collections.abc import Sequence

from trimtab.errors import RewardMismatch
from trimtab.models.frozen_lm import FrozenLM
from trimtab.rewards.registry import bundled_rewards, load_reward
from trimtab.server.public_names import RewardPlace
from trimtab.server.reward_shelf import RegisteredReward


def load_registered(places: Sequence[RewardPlace] | None, lm: FrozenLM) -> list[RegisteredReward]:
    """Load rewards under their public names.

    Args:
        places: what to load; None for the bundled rewards of the model's tokenizer.
        lm: the model to steer.

    Raises:
        RewardNotFound, RewardMismatch, CorruptReward: one that was named cannot be used.
    """
    chosen = fitting_rewards(lm) if places is None else places
    return [RegisteredReward.of(place.name, load_reward(place.source, lm)) for place in chosen]


def fitting_rewards(lm: FrozenLM) -> list[RewardPlace]:
    """The bundled rewards that were made for the model's tokenizer."""
    fitting = []
    for name, card in bundled_rewards().items():
        try:
            card.check_tokenizer(name, lm.codec.fingerprint)
        except RewardMismatch:
            continue
        fitting.append(RewardPlace(name, name))
    return fitting
