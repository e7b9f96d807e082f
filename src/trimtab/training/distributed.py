"""The processes of a run, and the arithmetic of measuring."""

import contextlib
from collections.abc import Iterator

import torch
from accelerate import PartialState

from trimtab.rewards.network import RewardNetwork


def processes() -> PartialState:
    """The processes of this run: one, or as many as torchrun started."""
    return PartialState(cpu=not torch.cuda.is_available())


@contextlib.contextmanager
def evaluating(network: RewardNetwork, bf16: bool) -> Iterator[None]:
    """Measure a network: eval mode, no gradients, and bfloat16 if training computes in it."""
    was_training = network.training
    device = next(network.parameters()).device.type
    network.eval()
    try:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=bf16):
            yield
    finally:
        network.train(was_training)
