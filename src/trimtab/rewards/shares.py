"""From a reward to a share: of texts with such a reward, how many have the label."""

import torch
from jaxtyping import Float
from torch import Tensor

from trimtab.rewards.card import RewardCard


def shares(rewards: Float[Tensor, "*texts attributes"], card: RewardCard) -> Float[Tensor, "*texts attributes"]:
    """The calibrated rewards, in [0, 1]: the card's line through the rewards, or through a sigmoid's log-odds.

    The rewards in the card's range, [0, 1] by default, if it has no calibration.
    """
    if not card.calibration:
        return rewards.clamp(*(card.clamp or (0.0, 1.0)))
    scale, shift = torch.tensor(card.calibration, dtype=rewards.dtype, device=rewards.device).unbind(-1)
    if card.link == "sigmoid":
        return torch.sigmoid(torch.logit(rewards) * scale + shift)
    return (rewards * scale + shift).clamp(0, 1)
