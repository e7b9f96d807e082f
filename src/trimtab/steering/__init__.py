"""Steering: which rewards, in which direction, how strongly, and the one rule that applies them."""

from typing import TYPE_CHECKING

from trimtab.lazy import lazy_exports

if TYPE_CHECKING:
    from trimtab.steering.notation import parse_steer
    from trimtab.steering.reward import Reward, RewardState
    from trimtab.steering.steer import Steer, Term

__all__ = ["Reward", "RewardState", "Steer", "Term", "parse_steer"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Reward": "trimtab.steering.reward",
        "RewardState": "trimtab.steering.reward",
        "Steer": "trimtab.steering.steer",
        "Term": "trimtab.steering.steer",
        "parse_steer": "trimtab.steering.notation",
    },
)
