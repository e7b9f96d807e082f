"""Load what a server runs: its model with a prefix cache, and its rewards, bundled ones that fit or those named."""

from collections.abc import Sequence

from trimtab.engines.torch.engine import TorchEngine
from trimtab.language_model import LanguageModel
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.prefix_cache import PrefixCache
from trimtab.rewards.heads import head_kind
from trimtab.rewards.registry import bundled_rewards, load_any
from trimtab.server.public_names import RewardPlace
from trimtab.server.reward_shelf import RegisteredReward


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


def load_registered(
    places: Sequence[RewardPlace] | None, lm: FrozenLM, retokenize: bool = False
) -> list[RegisteredReward]:
    """Load rewards under their public names.

    Args:
        places: what to load; None for the bundled rewards that can steer the model.
        lm: the model to steer.
        retokenize: whether rewards of another tokenizer may steer, see `trimtab.rewards.registry.load_any`.

    Raises:
        InvalidSetting, RewardNotFound, RewardMismatch, CorruptReward: one that was named cannot be used.
    """
    chosen = fitting_rewards(lm, retokenize) if places is None else places
    return [RegisteredReward.of(place.name, load_any(place.source, lm, retokenize=retokenize)) for place in chosen]


def fitting_rewards(lm: FrozenLM, retokenize: bool = False) -> list[RewardPlace]:
    """The bundled rewards of the model's tokenizer; with `retokenize` those that score texts, too."""
    return [
        RewardPlace(name, name)
        for name, card in bundled_rewards().items()
        if card.tokenizer_fingerprint == lm.codec.fingerprint or (retokenize and head_kind(card.head).scores_texts)
    ]
