"""The prefix cache: keys and values of encoded prefixes, kept across calls and stored once for all texts."""

import math
from collections.abc import Sequence
from threading import Lock, RLock
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from trimtab.checking import checked
from trimtab.errors import InvalidSetting
from trimtab.models.growing_cache import GrowingCache
from trimtab.models.usage import Usage

ROOT = -1
FIRST_SLOTS = 1024

States = Float[Tensor, "rows heads columns size"]


@final
@checked
class PrefixCache:
    """The prefixes that one or more models have encoded; each model has a store. Threads may share it.

    Args:
        gigabytes: the most that each store may hold; the least recently used prefixes are dropped first. 0 stores
            nothing.

    Attributes:
        usage: counts what goes through the models, unless a caller counts elsewhere.
    """

    def __init__(self, gigabytes: float = 2.0):
        if not 0 <= gigabytes < math.inf:
            raise InvalidSetting(f"got {gigabytes} gigabytes, expected a finite number, at least 0")
        self._bytes = int(gigabytes * 2**30)
        self.usage = Usage()
        self._stores: dict[int, tuple[object, PrefixStore]] = {}
        self._lock = Lock()

    def of(self, model: object) -> "PrefixStore":
        """The store of a model, or of a side network."""
        with self._lock:
            if id(model) not in self._stores:
                self._stores[id(model)] = model, PrefixStore(self._bytes)
            return self._stores[id(model)][1]


@final
class PrefixStore:
    """The keys and values of one model for a set of texts, stored as a tree.

    Each token behind a prefix has a slot, found by its parent's slot and its id. Texts that share a beginning share
    slots. Whenever a text is held, so are all its prefixes.

    Args:
        most_bytes: the most to hold.

    Attributes:
        lock: a save may move or forget slots. Hold it from `find` to the `load` of what was found.
    """

    def __init__(self, most_bytes: int):
        self._most_bytes = most_bytes
        self._slots: dict[tuple[int, int], int] = {}
        self._layers: list[list[Float[Tensor, "slots heads size"]]] = []
        self._used = np.zeros(0, dtype=np.int64)
        self._clock = 0
        self.lock = RLock()

    def find(self, tokens: Sequence[int]) -> list[int]:
        """The slots of the longest held prefix of a text, one per token."""
        slots, last = [], ROOT
        with self.lock:
            for token in tokens:
                found = self._slots.get((last, token))
                if found is None:
                    break
                slots.append(found)
                last = found
            self._clock += 1
            self._used[slots] = self._clock
        return slots

    @torch.inference_mode()
    def load(self, rows: Sequence[Sequence[int]], width: int) -> GrowingCache:
        """A KV cache of the given slots, right-aligned in `width` columns. The caller masks the rest."""
        cache = GrowingCache()
        if not width:
            return cache
        index = torch.tensor([slot for row in rows for slot in (*[0] * (width - len(row)), *row)])
        with self.lock:
            for number, states in enumerate(self._layers):
                held = [each[index.to(each.device)].unflatten(0, (len(rows), width)).transpose(1, 2) for each in states]
                cache.update(held[0], held[1], number)
        return cache

    @torch.inference_mode()
    def save(
        self,
        cache: GrowingCache,
        rows: Sequence[int],
        texts: Sequence[Sequence[int]],
        columns: Sequence[Sequence[int]],
    ) -> None:
        """Store the keys and values of some texts, except those that are held already.

        Args:
            cache: keys and values.
            rows: the cache row of each text.
            texts: their tokens.
            columns: the cache column of each of their tokens.
        """
        with self.lock:
            self._save(cache, rows, texts, columns)

    def _save(
        self,
        cache: GrowingCache,
        rows: Sequence[int],
        texts: Sequence[Sequence[int]],
        columns: Sequence[Sequence[int]],
    ) -> None:
        if not self._layers:
            self._layers = [[_empty(each, 0) for each in (layer.keys, layer.values)] for layer in cache.layers]
        most = self._most_bytes // sum(each[0].nbytes for layer in cache.layers for each in _token(layer))
        slots, first = self._new(texts)
        if slots and len(self._slots) + len(slots) > most >= len(slots):
            self._forget_older_half()
            slots, first = self._new(texts)
        wanted = len(self._slots) + len(slots)
        if not slots or wanted > most:
            return
        if wanted > len(self._used):
            self._resize(min(max(2 * len(self._used), wanted, FIRST_SLOTS), most))
        where = [(rows[text], columns[text][place], slot) for text, place, slot in first]
        row_index, column_index, slot_index = torch.tensor(where, device=self._layers[0][0].device).unbind(1)
        for (keys, values), layer in zip(self._layers, cache.layers, strict=True):
            keys[slot_index] = layer.keys[row_index, :, column_index]
            values[slot_index] = layer.values[row_index, :, column_index]
        self._slots |= slots  # last, so that an interruption leaves no slot without its states
        for text in texts:
            self.find(text)

    def _new(self, texts: Sequence[Sequence[int]]) -> tuple[dict[tuple[int, int], int], list[tuple[int, int, int]]]:
        """The slots that some texts need, and for each its text, its place there and its slot."""
        slots: dict[tuple[int, int], int] = {}
        first = []
        for number, text in enumerate(texts):
            held = self.find(text)
            last = held[-1] if held else ROOT
            for place in range(len(held), len(text)):
                key = (last, text[place])
                if key not in slots:
                    slots[key] = len(self._slots) + len(slots)
                    first.append((number, place, slots[key]))
                last = slots[key]
        return slots, first

    def _resize(self, slots: int) -> None:
        more = slots - len(self._used)
        for states in self._layers:  # one by one, because there is no room for all of them twice
            for place, each in enumerate(states):
                states[place] = torch.cat([each, each.new_empty(more, *each.shape[1:])])
        self._used = np.concatenate([self._used, np.zeros(more, dtype=np.int64)])

    def _forget_older_half(self) -> None:
        """Drop the least recently used half.

        A prefix is used whenever a text behind it is, so the prefixes of every remaining text remain.
        """
        if not self._slots:
            return
        known, used = self._slots, self._used[: len(self._slots)]
        self._slots, self._used = {}, self._used[:0]  # if interrupted, the store is empty
        kept = np.flatnonzero(used > np.median(used))
        index = torch.from_numpy(kept)
        for states in self._layers:
            for number, each in enumerate(states):
                states[number] = each[index.to(each.device)]
        place = np.full(len(used) + 1, ROOT)
        place[kept] = np.arange(len(kept))
        survivors = set(kept.tolist())
        self._used = used[kept]
        self._slots = {
            (int(place[parent]), token): int(place[slot])
            for (parent, token), slot in known.items()
            if slot in survivors
        }


def _token(layer: object) -> tuple[Tensor, Tensor]:
    """The keys and values of one token in a layer."""
    return layer.keys[:1, :, :1], layer.values[:1, :, :1]  # type: ignore[attr-defined]


def _empty(states: States, slots: int) -> Float[Tensor, "slots heads size"]:
    return states.new_empty(slots, states.shape[1], states.shape[3])
