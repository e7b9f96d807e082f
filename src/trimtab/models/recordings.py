"""Which forward calls of a KV cache are recorded, and the buffers of recordings, which wait for the next texts."""

import os
import warnings
from collections import Counter
from collections.abc import Hashable, Sequence
from threading import RLock
from typing import ClassVar, NamedTuple, final
from weakref import WeakKeyDictionary, WeakSet, finalize

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedModel

from trimtab.errors import out_of_memory
from trimtab.models.forward_call import Called, ForwardCall
from trimtab.models.growing_cache import GrowingCache
from trimtab.models.recorded_step import Record, RecordedStep, cuda_graph

SWITCH = "TRIMTAB_CUDA_GRAPHS"  # "0" in the environment: never record
CALLS_BEFORE = 3  # a recording takes the time of two calls or more, so the shapes must have lasted for some
COLUMNS = 256  # of a buffer: a multiple of it, or of a power of two times it
SPARE_COLUMNS = 64  # at least, of a new buffer
MOST_WAITING = 4 << 30  # bytes of the buffers of a model that wait for other texts
MOST_WORKSPACES = 32  # that wait; each recording in them has memory of its own, which is not counted


def recorder(device: torch.device) -> Record | None:
    """What records calls on a device; None where none are recorded."""
    return cuda_graph if device.type == "cuda" and os.environ.get(SWITCH) != "0" else None


def spacious(count: int) -> int:
    """The next of 1, 2, 3, 4, 6, 8, 12, 16, 24, …: so few sizes serve all counts, with a third to spare at most."""
    power = 1 << max(count - 1, 0).bit_length()
    return power * 3 // 4 if power >= 4 and count <= power * 3 // 4 else power


class Size(NamedTuple):
    """What a workspace has room for. Those of one kind have the same readers, and the weights at the same place."""

    kind: Hashable
    rows: int
    columns: int


@final
class Workspace:
    """Buffers of keys and values, and the calls that were recorded over them.

    Args:
        size: of the buffers.
        caches: give the buffers' other dimensions.
    """

    def __init__(self, size: Size, caches: Sequence[GrowingCache]):
        self.size, self.steps = size, dict[Hashable, RecordedStep]()
        self._caches = [whole_buffers(cache, size.rows, size.columns) for cache in caches]
        self._buffers = [room.states for cache in self._caches for room in cache.rooms]

    @property
    def bytes(self) -> int:
        """The memory of the buffers."""
        return sum(buffer.nbytes for buffer in self._buffers)

    def hold(self, caches: Sequence[GrowingCache]) -> None:
        """Move keys and values into the buffers, unless they are there."""
        rooms = [room for cache in caches for room in cache.rooms]
        for room, buffer in zip(rooms, self._buffers, strict=True):
            room.move(buffer)

    def new_step(self, new: int) -> RecordedStep:
        """A call over this many new tokens of every row, to be recorded."""
        return RecordedStep(self._caches, self.size.rows, new, self.size.columns, self._buffers[0].device)


def whole_buffers(like: GrowingCache, rows: int, columns: int) -> GrowingCache:
    """A cache of zeros of this size, with the heads of another."""
    whole = GrowingCache()
    for number, layer in enumerate(like.layers):
        sizes = [(rows, room.states.shape[1], columns, room.states.shape[3]) for room in layer.rooms]
        keys, values = (room.states.new_zeros(size) for room, size in zip(layer.rooms, sizes, strict=True))
        whole.update(keys, values, number)
    return whole


@final
class Shelf:
    """The workspaces of one model that no text uses at present, the last ones. Threads may share it."""

    def __init__(self) -> None:
        self._waiting: list[Workspace] = []
        self._lock = RLock()  # the garbage collector may put one back while another is put back

    def take(self, size: Size) -> Workspace | None:
        """A workspace of this size; None if there is none."""
        with self._lock:
            found = next((each for each in self._waiting if each.size == size), None)
            if found is not None:
                self._waiting.remove(found)
            return found

    def put(self, workspace: Workspace) -> None:
        """Keep a workspace for other texts."""
        with self._lock:
            self._waiting.append(workspace)
            while len(self._waiting) > MOST_WORKSPACES or sum(each.bytes for each in self._waiting) > MOST_WAITING:
                del self._waiting[0]


@final
class Recordings:
    """The recorded calls of one KV cache.

    Args:
        model: the decoder that the cache is of.
    """

    _shelves: ClassVar[WeakKeyDictionary[PreTrainedModel, Shelf]] = WeakKeyDictionary()
    _unable: ClassVar[WeakSet[PreTrainedModel]] = WeakSet()  # a call of theirs cannot be recorded

    def __init__(self, model: PreTrainedModel):
        self._model, self._record = model, recorder(model.device)
        self._weights = next(model.parameters()).data_ptr()  # a recording reads them there
        self._calls: Counter[Hashable] = Counter()
        self._held: list[Workspace] = []  # one or none
        if self._record is not None:
            self._shelf = self._shelves.setdefault(model, Shelf())
            finalize(self, _put_back, self._held, self._shelf).atexit = False

    @property
    def records(self) -> bool:
        """Whether calls may be recorded."""
        return self._record is not None

    def call(
        self,
        call: ForwardCall,
        caches: Sequence[GrowingCache],
        ids: Int[Tensor, "rows new"],
        mask: Bool[Tensor, "rows slots"],
    ) -> Called | None:
        """Replay the call over the next tokens of every row, once it has been recorded; None if it has not.

        Args:
            call: the call.
            caches: the keys and values that it reads and extends.
            ids: the new tokens.
            mask: False where a column is padding; the new tokens' columns are the last ones.
        """
        if self._record is None or not torch.is_inference_mode_enabled() or self._model in self._unable:
            return None
        rows, new = ids.shape
        shape = (new, call.logits)
        self._calls[rows, shape] += 1
        lasts = self._calls[rows, shape] > CALLS_BEFORE
        workspace = self._workspace(caches, rows, mask.shape[1], call.readers, lasts)
        if workspace is None or not (lasts or shape in workspace.steps):
            return None
        step = workspace.steps.get(shape) or workspace.new_step(new)
        step.read(ids, mask)
        if shape not in workspace.steps and not self._recorded(step, call):
            return None
        workspace.steps[shape] = step
        called = step.replay(rows)
        for room in (room for cache in caches for room in cache.rooms):
            room.extend(rows, new)
        return called

    def _workspace(
        self, caches: Sequence[GrowingCache], rows: int, columns: int, readers: Hashable, make: bool
    ) -> Workspace | None:
        """The workspace that has the keys and values; else one from the shelf, or a new one, into which they move."""
        kind, room = (self._weights, readers), spacious(rows)
        held = self._held[0] if self._held else None
        if held is None or held.size[:2] != (kind, room) or held.size.columns < columns:
            size = Size(kind, room, COLUMNS * spacious(-(-(columns + SPARE_COLUMNS) // COLUMNS)))
            held = self._shelf.take(size) or (Workspace(size, caches) if make else None)
        if held is not None:
            held.hold(caches)
        if held is not None and held not in self._held:
            _put_back(self._held, self._shelf)
            self._held.append(held)
        return held

    def _recorded(self, step: RecordedStep, call: ForwardCall) -> bool:
        """Record a call; False if that cannot be done with this model."""
        assert self._record is not None
        try:
            step.record(call, self._record)
        except RuntimeError as fault:
            if out_of_memory(fault):  # there may be some for the next texts
                return False
            self._unable.add(self._model)
            name = type(self._model).__name__
            warnings.warn(f"{name} cannot be recorded as a CUDA graph, so its steps are slower: {fault}", stacklevel=2)
            return False
        return True


def _put_back(held: list[Workspace], shelf: Shelf) -> None:
    while held:
        shelf.put(held.pop())
