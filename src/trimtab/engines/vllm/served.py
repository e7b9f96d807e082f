"""The rewards that requests of vLLM's own server may name, and the model in this process that they need."""

import os
from collections.abc import Mapping, Sequence
from functools import cache, cached_property, reduce
from operator import add
from types import MappingProxyType
from typing import TYPE_CHECKING, final

from trimtab.engines.vllm.row_rewards import check_steers
from trimtab.engines.vllm.tapped_models import PREFIX, kept_depths
from trimtab.engines.vllm.vllm_settings import section_of
from trimtab.errors import InvalidSetting
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.loading import load_frozen_lm
from trimtab.rewards.card import RewardCard, read_card
from trimtab.rewards.registry import find_reward, load_reward
from trimtab.rewards.reward_model import RewardModel
from trimtab.steering.notation import SteerText
from trimtab.steering.steer import Steer

if TYPE_CHECKING:
    from vllm.config import VllmConfig

VARIABLE = "TRIMTAB_REWARDS"
DEFAULT = "sentiment,toxicity"


@cache
def served_places() -> dict[str, str]:
    """What loads each served reward, by its name in requests: the variable TRIMTAB_REWARDS, NAME[=SOURCE],….

    Raises:
        InvalidSetting: the variable has an empty name.
    """
    text = os.environ.get(VARIABLE, DEFAULT)
    pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    if any(not name for name, _, _ in pairs):
        raise InvalidSetting(f"got {VARIABLE}={text!r}, expected NAME or NAME=SOURCE, separated by commas")
    return {name: source or name for name, _, source in pairs}


@cache
def served_names() -> dict[str, RewardCard]:
    """The cards of the served rewards, by their names in requests."""
    return {name: read_card(find_reward(source)) for name, source in served_places().items()}


@final
class Served:
    """The served rewards of one engine.

    Args:
        model: the folder or the name of the model.
        places: what loads each reward, by its name; none for an engine of `VllmEngine`, whose requests bring theirs.
        kept: the depths whose hidden states the model keeps.
    """

    def __init__(self, model: str, places: Mapping[str, str] = MappingProxyType({}), kept: Sequence[int] = ()):
        self._model = model
        self._rewards = {name: self._load(source, kept) for name, source in places.items()}

    @classmethod
    def of(cls, config: "VllmConfig") -> "Served":
        """The served rewards of an engine with this configuration.

        Raises:
            InvalidSetting: its model keeps no hidden states, or not those of a reward; vLLM schedules before it knows
                the tokens, or it drafts.
        """
        if config.speculative_config is not None:
            raise InvalidSetting("got speculative decoding, expected none: trimtab steers one token at a time")
        if config.scheduler_config.async_scheduling:
            raise InvalidSetting("got asynchronous scheduling, expected none: --no-async-scheduling")
        architectures = list(config.model_config.hf_config.architectures or [])
        if not all(name.startswith(PREFIX) for name in architectures):
            expected = [PREFIX + name for name in architectures]
            raise InvalidSetting(
                f"got a model of the architecture {', '.join(architectures)}, expected trimtab's class of it: "
                f'--hf-overrides \'{{"architectures": ["{", ".join(expected)}"]}}\''
            )
        if section_of(config).get("embedded"):
            return cls(config.model_config.model)
        return cls(config.model_config.model, served_places(), kept_depths(config))

    @cached_property
    def base(self) -> FrozenLM:
        """The model in this process: rewards share its weights."""
        return load_frozen_lm(self._model)

    @property
    def eos_token_id(self) -> int:
        """A token that ends a text."""
        return min(self.base.codec.eos_token_ids)

    def steer(self, texts: Sequence[SteerText]) -> Steer | None:
        """The sum of a request's terms."""
        steers = [self._term(text) for text in texts]
        return reduce(add, steers) if steers else None

    def _term(self, text: SteerText) -> Steer:
        reward = self._rewards[text.reward]
        return (reward.away if text.beta < 0 else reward.toward)(abs(text.beta), text.attribute)

    def _load(self, source: str, kept: Sequence[int]) -> RewardModel:
        reward = load_reward(source, self.base)
        check_steers(reward.toward(1.0), self.base, kept)
        return reward
