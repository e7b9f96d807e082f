"""The tokens of a batch of prefixes in columns, of which some are padding and some are holes."""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from trimtab.models.cache_rows import put_first, stack_rows
from trimtab.models.masks import causal_columns

LEAST_HOLES = 16  # columns that rows may lose before they are moved together
MORE_HOLES = 4  # one part in so many of all columns, if that is more


@final
class Columns:
    """The token ids of a batch of prefixes.

    Shorter rows are padded on the left. Rows that keep different numbers of the tokens that they got together have
    holes: columns in which others have a token. Positions count tokens, not columns.

    Args:
        ids: the first tokens, left-padded.
        mask: False where `ids` is padding.

    Attributes:
        ids, mask: all tokens, and the columns that are part of each prefix.
        padded: whether a row may have a column that is not part of it.
        ragged: whether the last column may be a hole.
        most_behind: as many columns may be behind the last token of a row.
    """

    def __init__(self, ids: Int[Tensor, "rows slots"], mask: Bool[Tensor, "rows slots"], padded: bool):
        self.ids, self.mask, self.padded, self.ragged = ids, mask, padded, False
        self.most_behind = 0
        self._holes = 0  # columns that a row has lost, at most
        self._new = 0  # columns that were added last behind others, until some are dropped

    @property
    def rows(self) -> int:
        """Number of prefixes."""
        return self.mask.shape[0]

    @property
    def slots(self) -> int:
        """Number of columns."""
        return self.mask.shape[1]

    @property
    def holed(self) -> bool:
        """Whether a row may have holes."""
        return self._holes > 0

    @property
    def crowded(self) -> bool:
        """Whether there are so many holes that the rows should be moved together."""
        return self._holes > max(LEAST_HOLES, self.slots // MORE_HOLES)

    @property
    def positions(self) -> Int[Tensor, "rows slots"]:
        """The position of each column in its text."""
        return (self.mask.cumsum(1) - 1).clamp_min(0)

    @property
    def behind_last(self) -> Int[Tensor, " rows"]:
        """How many columns are behind the last token of each row."""
        return self.slots - 1 - (self.mask * torch.arange(self.slots, device=self.mask.device)).amax(1)

    @property
    def compacted(self) -> Int[Tensor, "rows slots"]:
        """The columns of each row, those first that are not part of it."""
        return _blanks_first(self.mask)

    @property
    def prefixes(self) -> tuple[Int[Tensor, "rows slots"], Bool[Tensor, "rows slots"]]:
        """The ids without holes, left-padded, and their mask.

        Columns that were added last stay the last ones, those included that are padding on the right.
        """
        if not self.holed:
            return self.ids, self.mask
        order = _blanks_first(self.shown)
        return self.ids.gather(1, order), self.mask.gather(1, order)

    @property
    def shown(self) -> Bool[Tensor, "rows slots"]:
        """The mask, True in the columns that were added last, be they padding on the right."""
        return self.mask | (torch.arange(self.slots, 0, -1, device=self.mask.device) <= self._new)

    def seen_by(self, new: int) -> Bool[Tensor, "rows new slots"]:
        """The columns that each of the last ones sees."""
        return causal_columns(self.mask, new)

    def append(self, ids: Int[Tensor, "rows new"], mask: Bool[Tensor, "rows new"]) -> None:
        """Add columns. They may be padded on the right; `drop` must follow then."""
        self.ids, self.mask = torch.cat([self.ids, ids], dim=1), torch.cat([self.mask, mask], dim=1)
        self._new, self.ragged, self.most_behind = ids.shape[1], False, 0

    def arrange(self, order: Int[Tensor, "rows kept"], new: int) -> None:
        """Put some of the last `new` columns before the others of them."""
        self.ids, self.mask = self.ids.clone(), self.mask.clone()
        for each in (self.ids, self.mask):
            put_first(each[:, -new:], order, axis=1)

    def crop(self, count: int) -> None:
        """Take back the last columns."""
        self.ids, self.mask, self._new = self.ids[:, :-count], self.mask[:, :-count], 0

    def drop(self, counts: Int[Tensor, " rows"], most: int) -> None:
        """Turn the last columns of each row into holes, of each its own number, `most` at most."""
        self.mask = self.mask & (torch.arange(self.slots, 0, -1, device=self.mask.device) > counts[:, None])
        self.padded = self.ragged = True
        self._holes, self._new, self.most_behind = self._holes + most, 0, self.most_behind + most

    def compact(self, order: Int[Tensor, "rows slots"]) -> None:
        """Put the columns into the order of `compacted`, so that all holes become padding."""
        self.ids, self.mask = self.ids.gather(1, order), self.mask.gather(1, order)
        self._holes, self.ragged, self.most_behind = 0, False, 0

    def trim(self) -> int:
        """Drop the leftmost columns that are padding in every row, and return how many."""
        first = int(self.mask.any(0).int().argmax())
        self.ids, self.mask = self.ids[:, first:], self.mask[:, first:]
        return first

    def select(self, rows: Int[Tensor, " selected"]) -> None:
        """Make row i what row `rows[i]` was."""
        self.ids, self.mask = self.ids[rows], self.mask[rows]

    def join(self, other: "Columns") -> None:
        """Append the rows of others, and pad the shorter ones. Neither has holes."""
        slots = max(self.slots, other.slots)
        self.padded = self.padded or other.padded or self.slots != other.slots
        self.ids, self.mask = stack_rows(self.ids, other.ids, slots), stack_rows(self.mask, other.mask, slots)

    def texts(self, rows: Sequence[int]) -> tuple[list[list[int]], list[list[int]]]:
        """The token ids of some rows, and their columns."""
        chosen = list(rows)
        columns = [[place for place, part in enumerate(row) if part] for row in self.mask[chosen].tolist()]
        pairs = zip(self.ids[chosen].tolist(), columns, strict=True)
        return [[ids[place] for place in places] for ids, places in pairs], columns


def _blanks_first(mask: Bool[Tensor, "rows slots"]) -> Int[Tensor, "rows slots"]:
    """The columns of each row: those that are masked, then the others, each in their order."""
    return mask.byte().argsort(dim=1, stable=True)
