"""Reward models for decoding: a trunk, a head and a card, and the per-request state that scores candidates."""

from typing import TYPE_CHECKING

from trimtab.lazy import lazy_exports

if TYPE_CHECKING:
    from trimtab.rewards.card import RewardCard, read_card
    from trimtab.rewards.experts import Experts
    from trimtab.rewards.heads.base import RewardHead
    from trimtab.rewards.registry import bundled_rewards, load_reward, load_steers
    from trimtab.rewards.retokenized import RetokenizedReward
    from trimtab.rewards.reward_model import RewardModel
    from trimtab.rewards.sharing import pull_reward, push_reward

__all__ = [
    "Experts",
    "RetokenizedReward",
    "RewardCard",
    "RewardHead",
    "RewardModel",
    "bundled_rewards",
    "load_reward",
    "load_steers",
    "pull_reward",
    "push_reward",
    "read_card",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Experts": "trimtab.rewards.experts",
        "RetokenizedReward": "trimtab.rewards.retokenized",
        "RewardCard": "trimtab.rewards.card",
        "RewardHead": "trimtab.rewards.heads.base",
        "RewardModel": "trimtab.rewards.reward_model",
        "bundled_rewards": "trimtab.rewards.registry",
        "load_reward": "trimtab.rewards.registry",
        "load_steers": "trimtab.rewards.registry",
        "pull_reward": "trimtab.rewards.sharing",
        "push_reward": "trimtab.rewards.sharing",
        "read_card": "trimtab.rewards.card",
    },
)
