"""A KV cache that grows in place: what a token adds is written behind what is there, which is not copied."""

from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

LEAST_ROOM = 32  # tokens for which a buffer has room when it is made
MORE_ROOM = 8  # one part in so many of what it holds, if that is more

States = Float[Tensor, "rows heads columns size"]


@final
class GrowingCache(DynamicCache):
    """transformers' cache, whose layers copy all keys and values for every token, with layers that do not."""

    def __init__(self) -> None:
        super().__init__()
        self.layer_class_to_replicate = GrowingLayer


@final
class GrowingLayer(DynamicLayer):
    """Keys and values at the beginning of buffers with room behind them.

    Whoever replaces `keys` or `values` by another tensor, or by a part of them from the first column on, need not care:
    a tensor that is not the beginning of its buffer is copied into a new one when it grows.
    """

    keys: Tensor
    values: Tensor

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Hold nothing, in the dtype and on the device of the first states."""
        super().lazy_initialization(key_states, value_states)
        self._rooms: list[Tensor | None] = [None, None]

    def update(
        self, key_states: States, value_states: States, *args: Any, **kwargs: Any
    ) -> tuple[Float[Tensor, "rows heads all size"], Float[Tensor, "rows heads all size"]]:
        """Append the states of new tokens, and return all."""
        if not self.is_initialized or not self.keys.numel() or torch.is_grad_enabled():
            return super().update(key_states, value_states, *args, **kwargs)
        self.keys, self._rooms[0] = _appended(self.keys, key_states, self._rooms[0])
        self.values, self._rooms[1] = _appended(self.values, value_states, self._rooms[1])
        return self.keys, self.values

    def keep_column(self, start: int, choice: Int[Tensor, " rows"]) -> None:
        """Keep the columns before `start`, and then column `start + choice[row]` of each row."""
        self.keys, self.values = (_with_column(states, start, choice) for states in (self.keys, self.values))


def _appended(
    held: States, new: Float[Tensor, "rows heads new size"], room: Tensor | None
) -> tuple[Float[Tensor, "rows heads all size"], Tensor]:
    """Both, as the beginning of a buffer, and the buffer."""
    length, wanted = held.shape[2], held.shape[2] + new.shape[2]
    if room is None or not _begins(held, room) or room.shape[2] < wanted:
        room = held.new_empty(*held.shape[:2], wanted + max(LEAST_ROOM, wanted // MORE_ROOM), held.shape[3])
        room[:, :, :length] = held
    room[:, :, length:wanted] = new
    return room[:, :, :wanted], room


def _begins(held: Tensor, room: Tensor) -> bool:
    """Whether a tensor is the beginning of a buffer that may be written to."""
    same = held.data_ptr() == room.data_ptr() and held.stride() == room.stride() and held.shape[:2] == room.shape[:2]
    return same and (torch.is_inference_mode_enabled() or not room.is_inference())


def _with_column(states: States, start: int, choice: Int[Tensor, " rows"]) -> Float[Tensor, "rows heads kept size"]:
    chosen = (start + choice)[:, None, None, None].expand(-1, states.shape[1], 1, states.shape[3])
    states[:, :, start : start + 1] = states.gather(2, chosen)
    return states[:, :, : start + 1]
