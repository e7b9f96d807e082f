"""Counts the forward calls of a module."""

from torch import nn


class ForwardCounter:
    """Counts the forward calls of a module inside a `with` block."""

    def __init__(self, module: nn.Module):
        self.calls = 0
        self._handle = module.register_forward_hook(self._count)

    def _count(self, *_):
        self.calls += 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._handle.remove()
