"""Memory for weights in huge pages, which a processor finds with fewer look-ups."""

import contextlib
import mmap

import torch
from jaxtyping import Shaped
from torch import Tensor

HUGE = 2 << 20  # bytes of a huge page, on most machines


def empty_in_huge_pages(numbers: int, dtype: torch.dtype, device: torch.device) -> Shaped[Tensor, " numbers"]:
    """An uninitialised tensor; on a CPU, in huge pages if the system has them (Linux).

    A token reads every weight once, so that each page of 4 kB is looked up anew.
    """
    if device.type != "cpu" or not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.empty(numbers, dtype=dtype, device=device)
    room = mmap.mmap(-1, numbers * dtype.itemsize + HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without huge pages
        room.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(room, dtype=dtype, count=numbers)
