"""The tensors of a KV cache along its rows: joined, blank, or shifted."""

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional

from trimtab.models.growing_cache import GrowingCache


def join_caches(ours: GrowingCache, theirs: GrowingCache, slots: int) -> GrowingCache:
    """The rows of two caches of one network."""
    joined = GrowingCache()
    for number, (first, second) in enumerate(zip(ours.layers, theirs.layers, strict=True)):
        keys = stack_rows(first.keys, second.keys, slots, axis=2)
        joined.update(keys, stack_rows(first.values, second.values, slots, axis=2), number)
    return joined


def blank_cache(like: GrowingCache, rows: int) -> GrowingCache:
    """A cache of zeros, of the shape of another but for its rows."""
    blank = GrowingCache()
    for number, layer in enumerate(like.layers):
        keys, values = (states.new_zeros(rows, *states.shape[1:]) for states in (layer.keys, layer.values))
        blank.update(keys, values, number)
    return blank


def stack_rows(first: Tensor, second: Tensor, slots: int, axis: int = 1) -> Tensor:
    """Both along the rows, each padded on the left with zeros to this many slots."""
    after = 2 * (first.dim() - 1 - axis)
    padded = (functional.pad(each, (*[0] * after, slots - each.shape[axis], 0)) for each in (first, second))
    return torch.cat(list(padded))


def put_first(values: Tensor, order: Int[Tensor, "rows kept"], axis: int) -> None:
    """Overwrite the first columns of each row by some of its columns, in place.

    Args:
        values: [rows, …], with the columns along `axis`.
        order: the columns that come first.
        axis: of the columns.
    """
    rows, kept = order.shape
    index = order.view(rows, *[1] * (axis - 1), kept, *[1] * (values.dim() - axis - 1))
    index = index.expand(*values.shape[:axis], kept, *values.shape[axis + 1 :])
    values.narrow(axis, 0, kept).copy_(values.gather(axis, index))


def shift_right(values: Tensor, shifts: Int[Tensor, " rows"], axis: int) -> Tensor:
    """Move the columns of each row to the right; the last ones drop out, and the first ones are there twice.

    Args:
        values: [rows, …], with the columns along `axis`.
        shifts: by how many columns each row moves.
        axis: 1 or 2.
    """
    along = values.transpose(1, axis)
    columns = torch.arange(along.shape[1], device=values.device) - shifts[:, None]
    rows = torch.arange(along.shape[0], device=values.device)[:, None]
    return along[rows, columns.clamp_min(0)].transpose(1, axis)
