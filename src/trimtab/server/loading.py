"""Load what a server runs: its model with a prefix cache, and its rewards, the default ones or those named."""

from collections.abc import Sequence

from trimtab.engines.torch.engine import TorchEngine
from trimtab.language_model import LanguageModel
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.prefix_cache import PrefixCache
from trimtab.rewards.registry import load_any, rewards_for
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
    invariant, proposers = engine.batch_invariant, engine.proposers
    return LanguageModel(TorchEngine(engine.base, PrefixCache(gigabytes), None, invariant, proposers))


def load_registered(
    places: Sequence[RewardPlace] | None, lm: FrozenLM, retokenize: bool = False
) -> list[RegisteredReward]:
    """Load rewards under their public names.

    Args:
        places: what to load; None for those of DEFAULT_REWARDS that can steer the model.
        lm: the model to steer.
        retokenize: whether rewards of another tokenizer may steer, see `trimtab.rewards.registry.load_any`.

    Raises:
        InvalidSetting, RewardNotFound, RewardMismatch, CorruptReward: one that was named cannot be used.
    """
    chosen = fitting_rewards(lm, retokenize) if places is None else places
    return [RegisteredReward.of(place.name, load_any(place.source, lm, retokenize=retokenize)) for place in chosen]


def fitting_rewards(lm: FrozenLM, retokenize: bool = False) -> list[RewardPlace]:
    """The default rewards that were made for the model's tokenizer; with `retokenize` all of them."""
    cards = rewards_for(Fingerprints.of(lm))
    return [
        RewardPlace(name, name)
        for name in DEFAULT_REWARDS
        if retokenize or cards[name].tokenizer_fingerprint == lm.codec.fingerprint
    ]
