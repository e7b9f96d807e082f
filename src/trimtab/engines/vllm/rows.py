"""A request of vLLM's batch that trimtab steers, and where its tokens are in the running step."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

from trimtab.engines.vllm.asked import Asked
from trimtab.engines.vllm.step_record import StepRecord


@final
@dataclass(eq=False)
class BatchRow:
    """A request while it is in vLLM's batch. One that comes back, after a preemption, is another row.

    Attributes:
        asked: how its tokens are chosen.
        prompt: the prompt's tokens.
        written: its new tokens; vLLM's V1 runner appends to the list, and `SlotRows` does under V2.
        known: how many tokens it had when it joined the batch: its next token is chosen once the model has read them.
    """

    asked: Asked
    prompt: Sequence[int]
    written: list[int]
    known: int = field(init=False)

    def __post_init__(self) -> None:
        self.known = len(self)

    def __len__(self) -> int:
        return len(self.prompt) + len(self.written)

    @property
    def ids(self) -> list[int]:
        """All its tokens."""
        return [*self.prompt, *self.written]


@final
@dataclass(frozen=True)
class PlacedRow:
    """A row in a step.

    Attributes:
        row: the row.
        index: its place in vLLM's batch: its row of the logits.
        start, end: where its tokens are among those of the step.
        before: how many tokens the model had read before.
    """

    row: BatchRow
    index: int
    start: int
    end: int
    before: int

    @property
    def ready(self) -> bool:
        """Whether the model has read the whole text; False while a long prompt is read in chunks."""
        return self.before + self.end - self.start >= self.row.known


def place_rows(rows: dict[int, BatchRow], step: StepRecord) -> list[PlacedRow]:
    """The rows of a batch, by their places, in a step.

    Args:
        rows: by their places.
        step: what the model has read.
    """
    starts = step.starts.tolist()
    first = step.positions[step.starts[:-1].long()].tolist()
    return [PlacedRow(rows[at], at, starts[at], starts[at + 1], first[at]) for at in sorted(rows) if at < len(first)]
