"""A steer of one reward, towards or away from one of its attributes."""

from trimtab.errors import InvalidSetting
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
        InvalidSetting: a number is out of range, or the clamp leaves nothing of the card's.
    """
    column = card.attribute_index(attribute)
    term = Term(reward, column, float(beta), away, clamp or card.clamp, min_entropy)
    if clamp and card.clamp and not max(clamp[0], card.clamp[0]) < min(clamp[1], card.clamp[1]):
        raise InvalidSetting(
            f"got clamp={clamp}, expected a range that overlaps the reward's, {card.clamp}: outside it all tokens have "
            "one reward, and nothing is steered"
        )
    return Steer((term,))
