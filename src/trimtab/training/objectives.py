"""The losses of training, as pure functions of rewards and targets."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional


class Loss(NamedTuple):
    """A mean in two parts. Processes with different numbers of items can then compute their common mean exactly.

    Attributes:
        total: the sum, a scalar.
        items: the number of texts or tokens in the sum, a scalar.
    """

    total: Tensor
    items: Tensor

    @property
    def mean(self) -> Float[Tensor, ""]:
        """Total over items; 0 for no items."""
        return self.total / self.items.clamp_min(1)

    def merged(self, other: "Loss") -> "Loss":
        """The mean over the items of both."""
        return Loss(self.total + other.total, self.items + other.items)


def weighted_squared_error(
    rewards: Float[Tensor, "rows tokens attributes"],
    labels: Float[Tensor, "rows attributes"],
    known: Bool[Tensor, "rows tokens"],
) -> Loss:
    """RAD's loss: every prefix regresses the text's label; later prefixes weigh more (2310.09520, 2407.04615).

        Σ_t 2t / (L (L + 1)) · (r_t − y)²

    It is summed over attributes and averaged over texts; t = 1 … L counts the tokens whose reward is known.
    """
    return _weighted((rewards.float() - labels[:, None].float()).square(), known)


def weighted_cross_entropy(
    answers: Float[Tensor, "rows tokens attributes"],
    labels: Float[Tensor, "rows attributes"],
    known: Bool[Tensor, "rows tokens"],
) -> Loss:
    """The binary cross-entropy of sigmoid(answer) and label, with RAD's weights (2407.04615, "ce").

        Σ_t 2t / (L (L + 1)) · −[y log σ(a_t) + (1 − y) log(1 − σ(a_t))]

    Labels may lie between 0 and 1.
    """
    expected = labels[:, None].float().expand(answers.shape)
    return _weighted(functional.binary_cross_entropy_with_logits(answers.float(), expected, reduction="none"), known)


def bradley_terry(
    chosen: Float[Tensor, "rows attributes"],
    rejected: Float[Tensor, "rows attributes"],
    known: Bool[Tensor, " rows"] | None = None,
) -> Loss:
    """−log σ(r(chosen) − r(rejected)), summed over attributes and averaged over pairs.

    Args:
        chosen, rejected: the rewards of whole texts.
        known: False for a pair of which a text has no reward; it counts as none. None if all have.
    """
    losses = -functional.logsigmoid(chosen.float() - rejected.float())
    if known is None:
        return Loss(losses.sum(), _rows(chosen))
    return Loss(losses.masked_fill(~known[:, None], 0.0).sum(), known.sum())


def sequence_bradley_terry(
    log_probs: Float[Tensor, "texts tokens attributes"], known: Bool[Tensor, "texts tokens"], beta_r: float
) -> Loss:
    """GenARM's loss: −log σ(β_r (Σ log p_r(y⁺) − Σ log p_r(y⁻))), averaged over pairs (2410.08193).

    Args:
        log_probs: of each token; all chosen texts, then all rejected ones.
        known: False at padding, and where a token has no prefix.
        beta_r: β_r.
    """
    whole = beta_r * log_probs.float().masked_fill(~known[..., None], 0).sum(1)
    return bradley_terry(*whole.chunk(2))


def policy_preference(
    log_probs: Float[Tensor, "texts tokens 1"],
    known: Bool[Tensor, "texts tokens"],
    reference: Float[Tensor, " texts"],
    temperature: float,
) -> Loss:
    """HaF-RM's policy loss: −log σ(τ × the margin of log π − log π₀ of whole texts), averaged over pairs (2407.04185).

    Args:
        log_probs: log π of each token; all chosen texts, then all rejected ones.
        known: False at padding, and where a token has no prefix.
        reference: log π₀ of each text, over the same tokens.
        temperature: τ.
    """
    gained = log_probs.float()[..., 0].masked_fill(~known, 0).sum(1) - reference
    chosen, rejected = (temperature * gained[:, None]).chunk(2)
    chosen_known, rejected_known = known[:, -1].chunk(2)  # False for a text of one token without BOS
    return bradley_terry(chosen, rejected, chosen_known & rejected_known)


def language_modelling(log_probs: Float[Tensor, "texts tokens 1"], known: Bool[Tensor, "texts tokens"]) -> Loss:
    """−log p of each token given what precedes it, averaged over tokens.

    Args:
        log_probs: of each token.
        known: False at padding, and where a token has no prefix.
    """
    return token_mean(-log_probs.float()[..., 0], known)


def prefix_bradley_terry(
    chosen: Float[Tensor, "rows tokens attributes"],
    rejected: Float[Tensor, "rows tokens attributes"],
    chosen_known: Bool[Tensor, "rows tokens"],
    rejected_known: Bool[Tensor, "rows tokens"],
) -> Loss:
    """Bradley–Terry between the first t tokens of both texts, t = 1 … the shorter length, with RAD's weights.

    Differs from the papers: they do not train on pairs.
    """
    lengths = chosen_known.sum(1), rejected_known.sum(1)
    ahead = _from_the_left(chosen, lengths[0]).float() - _from_the_left(rejected, lengths[1]).float()
    both_known = torch.arange(chosen.shape[1], device=chosen.device) < torch.minimum(*lengths)[:, None]
    return _weighted(-functional.logsigmoid(ahead), both_known)


def squared_error(
    rewards: Float[Tensor, "*tokens attributes"],
    targets: Float[Tensor, "*tokens attributes"],
    known: Bool[Tensor, "*tokens"],
) -> Loss:
    """The loss of distillation: the mean squared error to a teacher's rewards over known tokens (2407.04615).

    It is averaged over attributes too.
    """
    return token_mean((rewards.float() - targets.float()).square().mean(-1), known)


def token_mean(of_tokens: Float[Tensor, "*tokens"], known: Bool[Tensor, "*tokens"]) -> Loss:
    """The mean over known tokens."""
    return Loss(of_tokens.masked_fill(~known, 0).sum(), known.sum())


def position_weights(known: Bool[Tensor, "rows tokens"]) -> Float[Tensor, "rows tokens"]:
    """2t / (L (L + 1)) at the t-th known token of L, 0 elsewhere; each row sums to 1."""
    order = known.cumsum(1).float() * known
    return order / order.sum(1, keepdim=True).clamp_min(1)


def _weighted(errors: Float[Tensor, "rows tokens attributes"], known: Bool[Tensor, "rows tokens"]) -> Loss:
    of_tokens = errors.sum(-1).masked_fill(~known, 0)
    return Loss((position_weights(known) * of_tokens).sum(), _rows(known))


def _rows(batch: Tensor) -> Tensor:
    return torch.tensor(batch.shape[0], device=batch.device)


def _from_the_left(
    rewards: Float[Tensor, "rows tokens attributes"], lengths: Int[Tensor, " rows"]
) -> Float[Tensor, "rows tokens attributes"]:
    """Move left-padded rewards to the left edge; a row's last reward is repeated behind its end."""
    tokens = rewards.shape[1]
    places = torch.arange(tokens, device=rewards.device) + (tokens - lengths)[:, None]
    return rewards.gather(1, places.clamp_max(tokens - 1)[..., None].expand(rewards.shape))
