"""Load what a server runs: its model with a prefix cache, and its rewards, the default ones or those named."""

from collections.abc import Sequence

from trimtab.engines.torch.engine import TorchEngine
from trimtab.errors import RewardMismatch
from trimtab.language_model import LanguageModel
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.prefix_cache import PrefixCache
from trimtab.rewards.registry import load_reward, rewards_for
from trimtab.rewards.variants import Fingerprints
from trimtab.server.public_names import RewardPlace
from trimtab.server.reward_shelf import RegisteredReward

DEFAULT_REWARDS = ("sentiment", "toxicity")  # the cheapest bundled one of each attribute


def with_prefix_cache(lm: LanguageModel, gigabytes: float) -> LanguageModel:
    """The same model, which keeps what requests encode; unchanged if it may keep nothing, or runs elsewhere.

    Args:
        lm: the model.
        gigabytes: the most to keep of it, and of each reward's own layers.
    """
    engine = lm.engine
    if not gigabytes or not isinstance(engine, TorchEngine):
        return lm
    return LanguageModel(TorchEngine(engine.base, PrefixCache(gigabytes), batch_invariant=engine.batch_invariant))


def load_registered(places: Sequence[RewardPlace] | None, lm: FrozenLM) -> list[RegisteredReward]:
    """Load rewards under their public names.

    Args:
        places: what to load; None for those of DEFAULT_REWARDS that were made for the model's tokenizer.
        lm: the model to steer.

    Raises:
        RewardNotFound, RewardMismatch, CorruptReward: one that was named cannot be used.
    """
    chosen = fitting_rewards(lm) if places is None else places
    return [RegisteredReward.of(place.name, load_reward(place.source, lm)) for place in chosen]


def fitting_rewards(lm: FrozenLM) -> list[RewardPlace]:
    """The default rewards that were made for the model's tokenizer."""
    cards, fitting = rewards_for(Fingerprints.of(lm)), []
    for name in DEFAULT_REWARDS:
        try:
            cards[name].check_tokenizer(name, lm.codec.fingerprint)
        except RewardMismatch:
            continue
        fitting.append(RewardPlace(name, name))
    return fitting
