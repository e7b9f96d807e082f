"""A steer of one reward, towards or away from one of its attributes."""

from trimtab.rewards.card import RewardCard
from trimtab.steering.reward import Reward
from trimtab.steering.steer import Clamp, Steer, Term


def steer_by(
    reward: Reward,
    card: RewardCard,
    beta: float,
    attribute: str | None,
    clamp: Clamp | None,
    min_entropy: float,
    away: bool,
) -> Steer:
    """The steer of a reward.

    Args:
        reward: the reward.
        card: gives its attributes and its clamp.
        beta, attribute, clamp, min_entropy: as `RewardModel.toward` takes them.
        away: steer towards low rewards.

    Raises:
        UnknownAttribute: the reward has no such attribute.
        InvalidSetting: a number is out of range.
    """
    column = card.attribute_index(attribute)
    return Steer((Term(reward, column, float(beta), away, clamp or card.clamp, min_entropy),))
