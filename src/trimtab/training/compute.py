"""Where and how a run computes: its processes, and the arithmetic of measuring."""

import contextlib
from collections.abc import Iterator

import torch
from accelerate import PartialState

from trimtab.rewards.network import RewardNetwork


def processes() -> PartialState:
    """The processes of this run: one, or those that torchrun started."""
    return PartialState(cpu=not torch.cuda.is_available())


@contextlib.contextmanager
def evaluating(network: RewardNetwork, bf16: bool) -> Iterator[None]:
    """Eval mode without gradients, in the arithmetic of training."""
    was_training = network.training
    device = next(network.parameters()).device.type
    network.eval()
    try:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=bf16):
            yield
    finally:
        network.train(was_training)
