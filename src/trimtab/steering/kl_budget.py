"""A budget for steering: how far, in nats per token, the steered distribution may be from the base's.

With p = softmax(z) over the candidates C, Δ what the steers add, and p_s = softmax(z + sΔ):

    KL(s) = KL(p_s ‖ p) = s · E_{p_s}[Δ] − log E_p[exp(sΔ)],    d/ds KL(s) = s · Var_{p_s}(Δ) ≥ 0.

So KL rises with s, and the largest s within a budget is found by narrowing an interval. Popoviciu's inequality
(Var ≤ R²/4, where R is the range of Δ) gives KL(s) ≤ s²R²/8, so s = √(8 · budget) / R is always within the budget: the
interval starts there, and is narrowed in log s, so that s has the same relative precision for any β.
"""

import torch
from jaxtyping import Float
from torch import Tensor

LEAST_KL = 1e-9  # nats; a smaller KL is lost in the rounding of float64 sums, so nothing is spent
NARROW = 256  # candidates up to which many scales are tried at once: few, large kernels
WAYS, ROUNDS = 32, 4  # each round cuts the interval into 32 parts; in all into 2**20
WIDE_WAYS, WIDE_ROUNDS = 2, 20  # the same precision with the fewest passes over a whole vocabulary


def budget_scale(
    logits: Float[Tensor, "rows k"], added: Float[Tensor, "rows k"], max_kl: Float[Tensor, " rows"]
) -> Float[Tensor, " rows"]:
    """The largest s in [0, 1] with KL(softmax(z + sΔ) ‖ softmax(z)) ≤ max_kl over C, for each row; no device sync.

    s is found to within 1e-4 from below, so the budget is never exceeded. A row of −inf logits only, or of a Δ that is
    not finite, has no meaningful s.

    Args:
        logits: z of the candidates; −inf outside C.
        added: Δ, the sum of what all steers add.
        max_kl: in nats; inf for no budget, which gives s = 1; below LEAST_KL s is 0.
    """
    logprobs, centred = _centred(logits, added)
    budget = max_kl.double()[:, None]
    spread = centred.amax(-1, keepdim=True) - centred.amin(-1, keepdim=True)
    low = ((8 * budget.clamp_min(LEAST_KL)).sqrt() / spread).clamp(max=1.0).log()
    high = torch.zeros_like(low)
    ways, rounds = (WAYS, ROUNDS) if logits.shape[1] <= NARROW else (WIDE_WAYS, WIDE_ROUNDS)
    parts = torch.arange(1, ways + 1, device=logits.device, dtype=low.dtype) / ways
    for number in range(rounds):
        tried = parts if number == 0 else parts[:-1]  # only the first round tries the end, s = 1
        within = _kl_at((low + tried * (high - low)).exp(), logprobs, centred) <= budget
        passed = within.cumprod(-1).sum(-1, keepdim=True) / ways
        low, high = low + passed * (high - low), low + (passed + 1 / ways).clamp(max=1.0) * (high - low)
    exact = low.exp().squeeze(1).masked_fill(budget.squeeze(1) < LEAST_KL, 0.0)
    return _rounded_down(exact, added.dtype)


def kl_to_base(steered: Float[Tensor, "rows k"], logits: Float[Tensor, "rows k"]) -> Float[Tensor, " rows"]:
    """KL(softmax(z') ‖ softmax(z)) over C, in nats, for each row.

    Args:
        steered: z' of the candidates.
        logits: z of the candidates; −inf outside C.
    """
    steered_logprobs, base = steered.double().log_softmax(-1), logits.double().log_softmax(-1)
    difference = (steered_logprobs - base).masked_fill(logits.isneginf(), 0.0)
    return (steered_logprobs.exp() * difference).sum(-1).clamp_min(0.0).to(steered.dtype)


def _centred(logits: Tensor, added: Tensor) -> tuple[Tensor, Tensor]:
    """log p, and Δ minus its mean under p, in float64; outside C, Δ is at its mean."""
    logprobs = logits.double().log_softmax(-1)
    inside = added.double().masked_fill(logprobs.isneginf(), 0.0)
    mean = (logprobs.exp() * inside).sum(-1, keepdim=True)
    return logprobs, (inside - mean).masked_fill(logprobs.isneginf(), 0.0)


def _kl_at(scales: Float[Tensor, "rows s"], logprobs: Tensor, centred: Tensor) -> Float[Tensor, "rows s"]:
    """KL(p_s ‖ p) at several scales."""
    tilted = logprobs[:, None] + scales[..., None] * centred[:, None]
    log_normaliser = tilted.logsumexp(-1)
    mean = ((tilted - log_normaliser[..., None]).exp() * centred[:, None]).sum(-1)
    return scales * mean - log_normaliser


def _rounded_down(exact: Tensor, dtype: torch.dtype) -> Tensor:
    """A number in another dtype, never larger: rounding up could exceed the budget."""
    nearest = exact.to(dtype)
    return nearest.where(nearest.double() <= exact, nearest.nextafter(torch.zeros_like(nearest)))
