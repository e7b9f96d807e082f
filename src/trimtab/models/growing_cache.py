"""A KV cache that grows in place: what a token adds is written behind what is there, which is not copied."""

from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from trimtab.models.room import Room, States


@final
class GrowingCache(DynamicCache):
    """transformers' cache, whose layers copy all keys and values for every token, with layers that do not."""

    def __init__(self) -> None:
        super().__init__()
        self.layer_class_to_replicate = GrowingLayer

    @property
    def rooms(self) -> list[Room]:
        """What holds the keys and the values of each layer."""
        return [room for layer in self.layers for room in layer.rooms]


@final
class GrowingLayer(DynamicLayer):
    """Keys and values at the beginning of buffers with room behind them.

    Whoever replaces `keys` or `values` by another tensor, or by a part of them from the first column on, need not care:
    a tensor that is not the beginning of its buffer is copied into a new one when it grows.

    Attributes:
        rooms: hold the keys and the values.
        places: where new states are written among those that it has; None to write them behind the others.
    """

    rooms: tuple[Room, Room] | tuple[()] = ()
    places: Int[Tensor, " new"] | None = None

    @property
    def keys(self) -> Tensor | None:
        """The keys of all columns; None before the first update."""
        return self.rooms[0].states if self.rooms else None

    @keys.setter
    def keys(self, states: Tensor | None) -> None:
        self._hold(0, states)

    @property
    def values(self) -> Tensor | None:
        """The values of all columns; None before the first update."""
        return self.rooms[1].states if self.rooms else None

    @values.setter
    def values(self, states: Tensor | None) -> None:
        self._hold(1, states)

    def _hold(self, place: int, states: Tensor | None) -> None:
        if states is not None:
            self.rooms = self.rooms or (Room(states), Room(states))
            self.rooms[place].hold(states)

    def update(
        self,
        key_states: States,
        value_states: Float[Tensor, "rows heads columns value_size"],  # latent attention has narrower values
        *args: Any,
        **kwargs: Any,
    ) -> tuple[Float[Tensor, "rows heads all size"], Float[Tensor, "rows heads all value_size"]]:
        """Append the states of new tokens, and return all."""
        if not self.rooms or not self.rooms[0].states.numel() or torch.is_grad_enabled():
            return super().update(key_states, value_states, *args, **kwargs)
        if self.places is None:
            return self.rooms[0].append(key_states), self.rooms[1].append(value_states)
        keys, values = (room.states for room in self.rooms)
        return keys.index_copy_(2, self.places, key_states), values.index_copy_(2, self.places, value_states)

    def keep_column(self, start: int, choice: Int[Tensor, " rows"]) -> None:
        """Keep the columns before `start`, and then column `start + choice[row]` of each row."""
        for room in self.rooms:
            room.hold(_with_column(room.states, start, choice))


def _with_column(states: States, start: int, choice: Int[Tensor, " rows"]) -> Float[Tensor, "rows heads kept size"]:
    chosen = (start + choice)[:, None, None, None].expand(-1, states.shape[1], 1, states.shape[3])
    states[:, :, start : start + 1] = states.gather(2, chosen)
    return states[:, :, : start + 1]
