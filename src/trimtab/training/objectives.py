"""What a reward is trained on: pure functions of rewards and labels."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trimtab.rewards.heads import QHead
from trimtab.rewards.network import PrefixRewards


def weighted_squared_error(
    rewards: Float[Tensor, "rows tokens attributes"],
    labels: Float[Tensor, "rows attributes"],
    known: Bool[Tensor, "rows tokens"],
) -> Float[Tensor, ""]:
    """RAD's loss: every prefix regresses the text's label, later prefixes more (2310.09520, 2407.04615).

        Σ_t 2t / (L (L + 1)) · (r_t − y)²

    summed over attributes, averaged over texts; t = 1 … L counts the tokens whose reward is known.
    """
    weights = position_weights(known)
    squared = (rewards.float() - labels[:, None, :].float()).square().sum(-1)
    return (weights * squared.masked_fill(~known, 0)).sum(1).mean()


def position_weights(known: Bool[Tensor, "rows tokens"]) -> Float[Tensor, "rows tokens"]:
    """2t / (L (L + 1)) at the t-th known token of L, 0 elsewhere; each row sums to 1."""
    order = known.cumsum(1).float() * known
    return order / order.sum(1, keepdim=True).clamp_min(1)


def zero_delta(
    head: QHead, scored: PrefixRewards, vocabulary: int, generator: torch.Generator | None = None
) -> Float[Tensor, ""]:
    """The regulariser: one uniformly random token u at each position, mean of ⟨W h, e_u⟩² (2407.04615).

    It pulls tokens that training never shows to the prefix's baseline, which softmax ignores; so where the reward knows
    nothing, the base model is left alone.

    Args:
        head: whose marginal is regularised.
        scored: hidden states and which of them count; padding does not.
        vocabulary: how many token ids to draw from.
        generator: for the draw; default torch's own.
    """
    hidden, known = scored.before, scored.known
    drawn: Int[Tensor, "rows tokens"]
    drawn = torch.randint(vocabulary, known.shape, generator=generator, device=known.device)
    marginal = head.marginal(hidden, drawn[..., None]).squeeze(-2).float()
    squared = marginal.square().sum(-1).masked_fill(~known, 0)
    return squared.sum() / known.sum().clamp_min(1)
