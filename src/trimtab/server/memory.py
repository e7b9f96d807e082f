"""Give back what a failed step left in memory."""

import gc
from collections.abc import Iterator
from traceback import clear_frames

import torch


def release_memory(error: BaseException) -> None:
    """Drop what the failed functions still hold, and return the accelerator's unused blocks to it.

    Args:
        error: what failed. The frames of its traceback hold the tensors of the step.
    """
    for each in with_causes(error):
        clear_frames(each.__traceback__)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def with_causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, and those that it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
