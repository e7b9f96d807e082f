"""A forward call over the next tokens of every row that is recorded once and replayed: one launch instead of hundreds.

On a GPU a step of a few rows takes Python longer to launch than the device to compute. A CUDA graph is launched at
once, but reads and writes the same memory each time. So a recorded call runs over whole buffers of keys and values, of
which a mask shows what has been written. They may have room for more rows than there are, so that rows can leave.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedModel

from trimtab.models.forward_call import Called, ForwardCall
from trimtab.models.growing_cache import GrowingCache
from trimtab.models.masks import attention_masks

Visible = Bool[Tensor, "rows new slots"]


Replay = Callable[[], Called]
Record = Callable[[Replay], Replay]  # makes of a computation over fixed tensors one that repeats it


def cuda_graph(body: Replay) -> Replay:
    """Record a computation on the current GPU. What it returns is overwritten by the next replay."""
    graph, stream, current = torch.cuda.CUDAGraph(), torch.cuda.Stream(), torch.cuda.current_stream()
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        body()  # loads the kernels, which a recording must not
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            found = body()
        finally:
            graph.capture_end()
    current.wait_stream(stream)

    def replay() -> Called:
        graph.replay()
        return found

    return replay


@final
class RecordedStep:
    """One recorded call, over tensors that stay where they are.

    Args:
        caches: whole buffers of keys and values, which it reads and writes.
        rows: of the buffers.
        new: tokens that each row gets.
        columns: of the buffers.
        device: of the tensors.
    """

    def __init__(self, caches: Sequence[GrowingCache], rows: int, new: int, columns: int, device: torch.device):
        self._caches = caches
        self._ids = torch.zeros(rows, new, dtype=torch.long, device=device)
        self._mask = torch.zeros(rows, columns, dtype=torch.bool, device=device)
        self._places = torch.zeros(new, dtype=torch.long, device=device)
        self._columns = torch.arange(columns, device=device)

    def read(self, ids: Int[Tensor, "rows new"], mask: Bool[Tensor, "rows slots"]) -> None:
        """Take new tokens, and the columns that are not padding, theirs included."""
        (rows, new), slots = ids.shape, mask.shape[1]
        self._ids[:rows] = ids
        self._mask.zero_()  # rows without a text would keep the mask of an earlier one
        self._mask[:rows, :slots] = mask
        torch.arange(slots - new, slots, out=self._places)

    def record(self, call: ForwardCall, record: Record) -> None:
        """Record a call, over what was read."""

        def body() -> Called:
            with written_at(self._places, self._caches):
                return call(self._caches, self._ids, *self._seen(call.model))

        with torch.cuda.device_of(self._ids):
            self._replay = record(body)

    def replay(self, rows: int) -> Called:
        """Run the call over what was read, and return the first rows."""
        with torch.cuda.device_of(self._ids):
            return self._replay().first(rows)

    def _seen(self, model: PreTrainedModel) -> tuple[Tensor, Any, Visible]:
        """The positions of the new tokens, their attention masks, and the columns that they see."""
        own = self._places[:, None]
        visible = (self._mask[:, None] & (self._columns <= own)) | (self._columns == own)
        of_columns = (self._mask.cumsum(1) - 1).clamp_min(0)
        positions = of_columns[:, self._places]
        return positions, attention_masks(model, visible, of_columns, positions), visible


@contextmanager
def written_at(places: Int[Tensor, " new"], caches: Sequence[GrowingCache]) -> Iterator[None]:
    """Let calls write keys and values into these columns of the buffers, and read the whole buffers."""
    layers = [layer for cache in caches for layer in cache.layers]
    for layer in layers:
        layer.places = places
    try:
        yield
    finally:
        for layer in layers:
            layer.places = None
