"""Keys and values of many rows, each in a slot of its own: a row grows in place, and nothing is copied per token."""

from collections.abc import Sequence
from typing import Any, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import DynamicCache

COLUMNS = 128  # by which the columns grow at least


@final
class SlotCache(DynamicCache):
    """The cache of a network whose rows come and go: row i is in slot i, at the left, and has a length of its own.

    `open` says which rows the next call of the network extends; `close` makes what it wrote part of them.

    Attributes:
        lengths: the tokens of each row.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[int] = []
        self._stored: list[tuple[Tensor, Tensor]] = []
        self._chosen: slice | Tensor = slice(0, 0)
        self._columns: Tensor = torch.empty(0, 0, dtype=torch.long)
        self._width = 0

    def add_rows(self, count: int) -> None:
        """Append empty rows."""
        self.lengths += [0] * count

    def keep(self, rows: Sequence[int]) -> None:
        """Row i becomes what row `rows[i]` was; the others go. Only rows that move and have tokens are copied."""
        moved = [(new, old) for new, old in enumerate(rows) if new != old and self.lengths[old]]
        if moved:
            new, old = (torch.tensor(places) for places in zip(*moved, strict=True))
            for stored in (each for pair in self._stored for each in pair):
                stored[new] = stored[old]
        self.lengths = [self.lengths[row] for row in rows]

    def open(self, rows: Sequence[int], new: int, device: torch.device) -> Bool[Tensor, "rows new columns"]:
        """Choose rows that the network extends by up to `new` tokens; returns what each of these tokens sees."""
        lengths = torch.tensor([self.lengths[row] for row in rows], device=device)
        self._width = max(self.lengths[row] for row in rows) + new
        whole = list(rows) == list(range(len(rows)))
        self._chosen = slice(0, len(rows)) if whole else torch.tensor(rows, device=device)
        self._columns = lengths[:, None] + torch.arange(new, device=device)
        return torch.arange(self._width, device=device) <= self._columns[..., None]

    def close(self, rows: Sequence[int], counts: Sequence[int]) -> None:
        """Make the first tokens that were written part of the rows, of each its own number."""
        for row, count in zip(rows, counts, strict=True):
            self.lengths[row] += count

    @property
    def positions(self) -> Int[Tensor, "rows new"]:
        """The position of each token that the open rows are extended by."""
        return self._columns

    def update(
        self,
        key_states: Float[Tensor, "rows heads new size"],
        value_states: Float[Tensor, "rows heads new size"],
        layer_idx: int,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        """Write the keys and values of the new tokens; returns those of the open rows."""
        self._make_room(layer_idx, key_states, value_states)
        places = torch.arange(len(self.lengths), device=key_states.device)[self._chosen][:, None]
        seen = []
        for stored, states in zip(self._stored[layer_idx], (key_states, value_states), strict=True):
            stored[places, :, self._columns] = states.transpose(1, 2)
            seen.append(stored[self._chosen, :, : self._width])
        return seen[0], seen[1]

    def get_seq_length(self, layer_idx: int = 0, *args: Any) -> int:
        """The tokens of the longest open row before the new ones."""
        return self._width - self._columns.shape[1]

    def _make_room(self, number: int, keys: Tensor, values: Tensor) -> None:
        """Grow a layer's tensors to hold every row, and every column that is written."""
        if number == len(self._stored):
            self._stored.append((_blank(keys), _blank(values)))
        rows, columns = self._stored[number][0].shape[0], self._stored[number][0].shape[2]
        needed = int(self._width)
        if rows < len(self.lengths) or columns < needed:
            more_columns = columns if columns >= needed else max(2 * columns, needed + COLUMNS)
            more_rows = rows if rows >= len(self.lengths) else max(2 * rows, len(self.lengths))
            first, second = self._stored[number]
            self._stored[number] = _grown(first, more_rows, more_columns), _grown(second, more_rows, more_columns)


def _blank(like: Tensor) -> Tensor:
    return like.new_zeros(0, like.shape[1], 0, like.shape[3])


def _grown(stored: Tensor, rows: int, columns: int) -> Tensor:
    grown = stored.new_zeros(rows, stored.shape[1], columns, stored.shape[3])
    grown[: stored.shape[0], :, : stored.shape[2]] = stored
    return grown
