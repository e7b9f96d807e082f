"""A tensor with columns that grows in place: the beginning of a buffer with room behind it."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

LEAST_ROOM = 32  # columns for which a new buffer has room
MORE_ROOM = 8  # one part in so many of what it holds, if that is more

States = Float[Tensor, "rows heads columns size"]


@final
class Room:
    """States of columns, to which columns are added without copying those that are there.

    Args:
        states: what it holds first.
    """

    def __init__(self, states: Tensor):
        self._states: Tensor | None = states
        self._buffer: Tensor | None = None
        self._shape = (0, 0)  # when `_states` is None: its rows and columns in the buffer

    @property
    def states(self) -> Tensor:
        """What it holds."""
        if self._states is None:
            rows, columns = self._shape
            self._states = self.buffer[:rows, :, :columns]
        return self._states

    @property
    def buffer(self) -> Float[Tensor, "room_rows heads room_columns size"]:
        """The buffer of which the states are the beginning."""
        assert self._buffer is not None
        return self._buffer

    def hold(self, states: Tensor) -> None:
        """Hold this instead. Behind the beginning of the buffer, columns are still added in place."""
        self._states = states

    def append(self, new: Float[Tensor, "rows heads new size"]) -> Float[Tensor, "rows heads all size"]:
        """Add columns, and return all."""
        held, (rows, heads, added, size) = self.states.shape[2], new.shape
        wanted = held + added
        if not self._in_buffer(wanted):
            self.move(new.new_empty(rows, heads, wanted + max(LEAST_ROOM, wanted // MORE_ROOM), size))
        self.buffer[:rows, :, held:wanted] = new
        self.extend(rows, added)
        return self.states

    def extend(self, rows: int, columns: int) -> None:
        """Count columns that were written into the buffer, behind those that it holds."""
        held = self._shape[1] if self._states is None else self._states.shape[2]
        self._states, self._shape = None, (rows, held + columns)

    def move(self, buffer: Float[Tensor, "room_rows heads room_columns size"]) -> None:
        """Hold the states at the beginning of this buffer, maybe of more rows; the columns behind them become 0."""
        if self._buffer is buffer and self._in_buffer(0):
            return
        states = self.states.clone() if self._buffer is buffer else self.states  # they may lie elsewhere in it
        rows, _, columns, _ = states.shape
        buffer[:rows, :, :columns] = states
        buffer[:rows, :, columns:] = 0  # what other texts left there is masked, and a NaN would show all the same
        self._buffer, self._states, self._shape = buffer, None, (rows, columns)

    def _in_buffer(self, columns: int) -> bool:
        """Whether the states are the beginning of a buffer that may be written to, with room for this many columns."""
        buffer, states = self._buffer, self._states
        if buffer is None or buffer.shape[2] < columns or buffer.is_inference() > torch.is_inference_mode_enabled():
            return False
        return states is None or (states.data_ptr() == buffer.data_ptr() and states.stride() == buffer.stride())
