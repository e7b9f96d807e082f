"""Give back what a failed step left in memory."""

import gc

import torch


def release_memory() -> None:
    """Collect garbage, and return the accelerator's unused blocks to it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
