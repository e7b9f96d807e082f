"""The largest logits of each row, found in the blocks that have the largest ones."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

BLOCK = 64  # logits
FEW = 4  # as many blocks for each logit that is wanted, at least; else nothing is won


def largest(
    logits: Float[Tensor, "rows n"], count: int
) -> tuple[Float[Tensor, "rows count"], Int[Tensor, "rows count"]]:
    """The largest logits of each row and their places, by falling logit: what `logits.topk(count)` returns.

    On a CPU `topk` moves all logits about. Here the largest of each block is taken, which is quick; only the blocks
    with the largest of these can have one of the `count` largest. Of equal logits, others may be chosen.
    """
    blocks = logits.shape[1] // BLOCK
    if not logits.is_cpu or blocks < FEW * count:
        found, places = logits.topk(count, dim=-1)
        return found, places
    whole, rest = logits.split([blocks * BLOCK, logits.shape[1] - blocks * BLOCK], dim=1)
    by_block = whole.unflatten(1, (blocks, BLOCK))
    best = by_block.amax(-1).topk(count, dim=-1, sorted=False).indices
    taken = by_block.gather(1, best[..., None].expand(-1, -1, BLOCK)).flatten(1)
    found, places = torch.cat([taken, rest], dim=1).topk(count, dim=-1)
    in_block = best.gather(1, (places // BLOCK).clamp_max(count - 1)) * BLOCK + places % BLOCK
    behind = blocks * BLOCK + places - count * BLOCK
    return found, in_block.where(places < count * BLOCK, behind)
