"""Ugly Python values, by name. Each is made anew for each call."""

import collections
import decimal
import pathlib
from collections.abc import Callable

import numpy as np
import torch


class NoRepr:
    """An object that cannot describe itself."""

    def __repr__(self) -> str:
        raise RuntimeError("no description")


class Text(str):
    """A kind of text."""


def loop() -> list:
    """A list that holds itself."""
    items: list = []
    items.append(items)
    return items


def deep() -> list:
    """A list in a list in a list, 100,000 deep."""
    items: list = []
    for _ in range(100_000):
        items = [items]
    return items


VALUES: dict[str, Callable[[], object]] = {
    "None": lambda: None,
    "NaN": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "-1": lambda: -1,
    "0": lambda: 0,
    "0.5": lambda: 0.5,
    "10**400": lambda: 10**400,
    "True": lambda: True,
    "text": lambda: "abc",
    "empty text": lambda: "",
    "surrogate": lambda: "\ud800",
    "escape": lambda: "\x1b[31m\x00",
    "long text": lambda: "w1 " * 100_000,
    "bytes": lambda: b"w1",
    "[]": lambda: [],
    "[None]": lambda: [None],
    "loop": loop,
    "deep": deep,
    "{}": lambda: {},
    "dict": lambda: {"role": "user", "content": "w1"},
    "counter": lambda: collections.Counter("w1"),
    "generator": lambda: (word for word in ["w1"]),
    "function": lambda: lambda *given: given,
    "object": lambda: object(),
    "no repr": NoRepr,
    "numpy int": lambda: np.int64(3),
    "numpy NaN": lambda: np.float32("nan"),
    "numpy array": lambda: np.array([1.0, 2.0]),
    "tensor": lambda: torch.tensor([1, 2]),
    "path": lambda: pathlib.Path("nowhere"),
    "complex": lambda: 1j,
    "decimal": lambda: decimal.Decimal("1"),
    "set": lambda: {"w1"},
    "class": lambda: int,
    "text subclass": lambda: Text("w1"),
}
