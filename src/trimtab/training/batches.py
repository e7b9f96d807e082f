"""Batches of texts of similar length, and the share of padding in them."""

import random
import time
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, final

from torch import Tensor
from torch.utils.data import Sampler

POOL = 50  # batches sorted together


@final
class LengthGrouped(Sampler[int]):
    """Batches of texts of similar length, because padding costs as much as text.

    The texts of fifty batches at a time are drawn, sorted by length, cut into batches, and the batches are shuffled.
    So short and long batches alternate, unlike in `transformers`' own grouping. The order depends on the seed and the
    epoch only.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int):
        self.lengths, self.batch_size, self.seed, self.epoch = list(lengths), batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Shuffle for this epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        draw = random.Random(f"{self.seed} {self.epoch}")
        order = draw.sample(range(len(self)), len(self))
        batches = []
        for start in range(0, len(order), POOL * self.batch_size):
            pool = sorted(order[start : start + POOL * self.batch_size], key=self.lengths.__getitem__)
            batches += [pool[i : i + self.batch_size] for i in range(0, len(pool), self.batch_size)]
        whole = [batch for batch in batches if len(batch) == self.batch_size]
        rest = [batch for batch in batches if len(batch) < self.batch_size]
        yield from chain.from_iterable(draw.sample(whole, len(whole)) + rest)


def by_length(examples: Sequence[Any], batch_size: int) -> Iterator[list[Any]]:
    """Batches of examples of similar "length"."""
    ordered = sorted(examples, key=lambda example: example["length"])
    for start in range(0, len(ordered), batch_size):
        yield ordered[start : start + batch_size]


@final
class Throughput:
    """Counts tokens of text, and slots of text or padding."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.tokens: Tensor | int = 0
        self.slots, self.start = 0, time.perf_counter()

    def count(self, mask: Tensor) -> None:
        """Add a batch, without a synchronization of the device."""
        self.tokens, self.slots = self.tokens + mask.sum(), self.slots + mask.numel()

    def take(self) -> dict[str, float]:
        """Tokens of text per second and the share of padding since the last call, in this process."""
        tokens, slots, seconds = int(self.tokens), self.slots, time.perf_counter() - self.start
        self._reset()
        return {"tokens_per_second": round(tokens / seconds, 1), "padding": round(1 - tokens / max(slots, 1), 4)}
