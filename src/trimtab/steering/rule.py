"""The one steering rule, as pure functions of tensors. Every engine calls them.

1. z: the base model's raw next-token logits, after any hard constraint (−inf stays −inf) and repetition penalty.
2. C: top-k and/or top-p of z. Truncation comes before steering.
3. z'_v = z_v + s · Σ β · g(r(v)) on C, −inf elsewhere; g clamps, and mirrors the range to steer away. s is 1, or the
   largest scale that keeps KL(softmax z' ‖ softmax z) over C within a budget.
4. Temperature and sampling follow, so that β means the same at every temperature.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from trimtab.steering.kl_budget import budget_scale
from trimtab.steering.largest import largest
from trimtab.steering.steer import Term

NO_TERM = (0, 0.0, 1.0, 0.0, -torch.inf, torch.inf, 0.0)  # β = 0: adds nothing


class Candidates(NamedTuple):
    """The set C of each row.

    Attributes:
        ids: token ids, by falling logit (in vocabulary order if C is the whole vocabulary).
        logits: their raw logits z; −inf where top-p or a hard constraint has excluded them.
        whole: C is the whole vocabulary.
    """

    ids: Int[Tensor, "rows k"]
    logits: Float[Tensor, "rows k"]
    whole: bool


class RowTerms(NamedTuple):
    """How each row uses one reward. Rows with fewer terms are filled up with terms of β = 0.

    g = offset + sign · clamp(r, low, high)
    """

    attribute: Int[Tensor, "rows terms"]
    beta: Float[Tensor, "rows terms"]
    sign: Float[Tensor, "rows terms"]
    offset: Float[Tensor, "rows terms"]
    low: Float[Tensor, "rows terms"]
    high: Float[Tensor, "rows terms"]
    min_entropy: Float[Tensor, "rows terms"]

    def select(self, rows: Int[Tensor, " selected"]) -> "RowTerms":
        """Make row i what row `rows[i]` was."""
        return RowTerms(*(column[rows] for column in self))

    def join(self, other: "RowTerms") -> "RowTerms":
        """Append the rows of another batch."""
        width = max(self.attribute.shape[1], other.attribute.shape[1])
        pairs = zip(self._widened(width), other._widened(width), strict=True)
        return RowTerms(*(torch.cat(pair) for pair in pairs))

    def _widened(self, width: int) -> "RowTerms":
        missing = width - self.attribute.shape[1]
        columns = zip(self, NO_TERM, strict=True)
        return RowTerms(*(functional.pad(column, (0, missing), value=value) for column, value in columns))


def base_logprobs(logits: Float[Tensor, "rows vocabulary"], ids: Int[Tensor, "rows k"]) -> Float[Tensor, "rows k"]:
    """log softmax(z) of some tokens, over the whole vocabulary."""
    return logits.gather(1, ids) - logits.logsumexp(-1, keepdim=True)


def top_candidates(
    logits: Float[Tensor, "rows vocabulary"],
    top_k: int | None,
    top_p: float | Float[Tensor, " rows"] | None,
    row_top_k: Int[Tensor, " rows"] | None = None,
) -> Candidates:
    """The candidates of each row: the top_k most likely; of those, the fewest that hold probability top_p.

    Args:
        logits: z.
        top_k: of the row with the most candidates; None for no limit.
        top_p: in (0, 1], one for all rows or one per row; None for no limit. Probabilities are renormalised over the
            top k, as transformers does.
        row_top_k: of each row, at most `top_k`; None if it is the same for all.
    """
    if top_k is None and top_p is None:
        ids = torch.arange(logits.shape[1], device=logits.device).expand_as(logits)
        return Candidates(ids, logits, whole=True)
    kept, ids = largest(logits, top_k or logits.shape[1])
    if row_top_k is not None:
        beyond = torch.arange(kept.shape[1], device=kept.device) >= row_top_k[:, None]
        kept = kept.masked_fill(beyond, -torch.inf)
    if top_p is not None:
        probabilities = kept.softmax(-1)
        before = probabilities.cumsum(-1) - probabilities
        outside = before >= (top_p[:, None] if isinstance(top_p, Tensor) else top_p)
        outside[:, 0] = False
        kept = kept.masked_fill(outside, -torch.inf)
    return Candidates(ids, kept, whole=False)


def row_terms(terms: Sequence[Sequence[Term]], device: torch.device) -> RowTerms:
    """The terms of each row as tensors."""
    width = max([1, *map(len, terms)])
    columns = [_columns(row, width) for row in terms]
    attribute, *rest = (torch.tensor(column, device=device) for column in zip(*columns, strict=True))
    return RowTerms(attribute, *(column.float() for column in rest))


def guidance(
    rewards: Float[Tensor, "rows k attributes"], terms: RowTerms, entropy: Float[Tensor, " rows"]
) -> Float[Tensor, "rows k"]:
    """Σ β · g(r(v)): what one reward adds to the logits of the candidates.

    Args:
        rewards: r of each candidate.
        terms: the terms of each row.
        entropy: of the base's next-token distribution, in nats; a term adds nothing below its `min_entropy`.
    """
    shape = (*rewards.shape[:2], terms.attribute.shape[1])
    chosen = rewards.gather(2, terms.attribute[:, None].expand(shape))
    clamped = chosen.clamp(terms.low[:, None], terms.high[:, None])
    strength = terms.beta * (entropy[:, None] >= terms.min_entropy)
    return (strength[:, None] * (terms.offset[:, None] + terms.sign[:, None] * clamped)).sum(-1)


def steered_logits(
    candidates: Candidates, added: Float[Tensor, "rows k"], max_kl: Float[Tensor, " rows"] | None = None
) -> tuple[Float[Tensor, "rows k"], Float[Tensor, " rows"] | None]:
    """z' of the candidates, and the scale s of each row (None without a budget: s = 1).

    Args:
        candidates: C.
        added: what all steers add.
        max_kl: the budget of each row in nats, inf for a row without one; None if no row has one.
    """
    if max_kl is None:
        return candidates.logits + added, None
    scale = budget_scale(candidates.logits, added, max_kl)
    return candidates.logits + scale[:, None] * added, scale


def entropy_of(logits: Float[Tensor, "rows vocabulary"]) -> Float[Tensor, " rows"]:
    """The entropy of softmax(z), in nats."""
    log_probabilities = logits.log_softmax(-1)
    return torch.special.entr(log_probabilities.exp()).sum(-1)


def scatter_candidates(
    steered: Float[Tensor, "rows k"], candidates: Candidates, vocabulary: int
) -> Float[Tensor, "rows vocabulary"]:
    """z' over the whole vocabulary: −inf outside C."""
    full = steered.new_full((steered.shape[0], vocabulary), -torch.inf)
    return full.scatter(1, candidates.ids, steered)


def _columns(terms: Sequence[Term], width: int) -> list[list[int | float]]:
    rows = [_row(term) for term in terms] + [NO_TERM] * (width - len(terms))
    return [list(column) for column in zip(*rows, strict=True)]


def _row(term: Term) -> tuple[int | float, ...]:
    low, high = term.clamp or (-torch.inf, torch.inf)
    offset = low + high if term.away and term.clamp else 0.0
    return term.attribute, term.beta, -1.0 if term.away else 1.0, offset, low, high, term.min_entropy
