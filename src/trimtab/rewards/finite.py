"""Rewards that are NaN or infinite: found, and named in the error."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trimtab.errors import NonFiniteReward
from trimtab.models.codec import TextCodec
from trimtab.steering.reward import Reward


def finite_rows(rewards: Float[Tensor, "rows k attributes"]) -> Bool[Tensor, " rows"]:
    """Whether all rewards of a row are finite; no device sync."""
    return rewards.isfinite().all(dim=(1, 2))


def check_finite(
    reward: Reward,
    rewards: Float[Tensor, "tokens attributes"],
    tokens: Int[Tensor, " tokens"],
    codec: TextCodec | None = None,
) -> None:
    """Check the rewards of some tokens. This waits for the device.

    Raises:
        NonFiniteReward: one is NaN or infinite.
    """
    if not bool(rewards.isfinite().all()):
        raise non_finite(reward, rewards, tokens, codec)


def non_finite(
    reward: Reward,
    rewards: Float[Tensor, "tokens attributes"],
    tokens: Int[Tensor, " tokens"],
    codec: TextCodec | None = None,
) -> NonFiniteReward:
    """The error for the first reward that is not finite.

    Args:
        reward: what returned the rewards.
        rewards: with one or more that are not finite.
        tokens: the token of each row.
        codec: gives the token's text; None to name its id alone.
    """
    place, column = (int(index) for index in torch.nonzero(~rewards.isfinite())[0])
    token = int(tokens[place])
    text = "" if codec is None else f" {codec.token_text(token)!r}"
    return NonFiniteReward(
        f"got the reward {float(rewards[place, column])} of {reward.name!r} in {reward.attributes[column]!r} for the "
        f"token{text} (id {token}), expected a finite number; load the model in float32, or fetch or train the reward "
        "again"
    )
