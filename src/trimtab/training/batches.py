"""Which texts go together into a batch, and how much of it is text."""

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
    """Batches of texts of similar length, in an order that a seed and an epoch decide, whatever was drawn before.

    Padding is paid for like text. Fifty batches at a time are drawn, sorted by length, cut, and shuffled as batches: so
    short and long ones take turns, as in `transformers`' own grouping they do not.
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
    """Counts tokens that are text, and slots that hold them or padding."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.tokens: Tensor | int = 0
        self.slots, self.start = 0, time.perf_counter()

    def count(self, mask: Tensor) -> None:
        """Add a batch; nothing is read back from the device."""
        self.tokens, self.slots = self.tokens + mask.sum(), self.slots + mask.numel()

    def take(self) -> dict[str, float]:
        """Useful tokens a second and the share of padding since the last time, in this process."""
        tokens, slots, seconds = int(self.tokens), self.slots, time.perf_counter() - self.start
        self._reset()
        return {"tokens_per_second": round(tokens / seconds, 1), "padding": round(1 - tokens / max(slots, 1), 4)}
