"""Constraints against repetition, with transformers' meaning: they change z, before candidates are chosen.

They read the whole prefix, prompt and new tokens. Padding is never read, so a text does not depend on its batch;
transformers' processors read the padding of a batch, too.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def penalize_repetition(
    logits: Float[Tensor, "rows vocabulary"],
    ids: Int[Tensor, "rows slots"],
    mask: Bool[Tensor, "rows slots"],
    penalty: Float[Tensor, " rows"],
) -> Float[Tensor, "rows vocabulary"]:
    """Divide the logits of tokens that occur in the prefix by the penalty; multiply those below 0 (CTRL, 1909.05858).

    Args:
        logits: z.
        ids: the prefixes, left-padded.
        mask: False where `ids` is padding.
        penalty: of each row; 1 changes nothing.
    """
    seen = ids.where(mask, ids[:, -1:])
    found, factor = logits.gather(1, seen), penalty.to(logits.dtype)[:, None]
    return logits.scatter(1, seen, torch.where(found < 0, found * factor, found / factor))


def ban_repeated_ngrams(
    logits: Float[Tensor, "rows vocabulary"],
    ids: Int[Tensor, "rows slots"],
    mask: Bool[Tensor, "rows slots"],
    size: int,
    limited: Bool[Tensor, " rows"],
) -> Float[Tensor, "rows vocabulary"]:
    """Set to −inf each token that would complete a run of `size` tokens which the prefix already has.

    Args:
        logits: z.
        ids: the prefixes, left-padded.
        mask: False where `ids` is padding.
        size: of the runs, in tokens.
        limited: the rows that it is meant for.
    """
    slots = ids.shape[1]
    if slots < size:
        return logits
    runs = ids.unfold(1, size, 1)
    ending = ids[:, slots - size + 1 :]
    whole = mask[:, : runs.shape[1]]  # padding is on the left: a run is whole if its first token is no padding
    repeats = (runs[..., :-1] == ending[:, None]).all(-1) & whole & limited[:, None]
    ceiling = torch.full_like(repeats, torch.inf, dtype=logits.dtype).masked_fill(repeats, -torch.inf)
    return logits.scatter_reduce(1, runs[..., -1], ceiling, "amin")
