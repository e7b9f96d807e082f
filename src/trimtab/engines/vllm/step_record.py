"""What the running step of vLLM's model has read and computed: its forward writes it, the logits processor reads it."""

import threading
from dataclasses import dataclass
from typing import final

from jaxtyping import Float, Int
from torch import Tensor

_running = threading.local()  # a forward call and its processors run in one thread, one after the other


@final
@dataclass(frozen=True)
class StepRecord:
    """The tokens of one forward call, those of each request one after another, in the order of the rows of its logits.

    Attributes:
        positions: of each token in its text.
        starts: where the tokens of each request start; behind them the number of tokens.
        states: the hidden states of all tokens, by depth; `LAST`: after the final norm.
    """

    positions: Int[Tensor, " tokens"]
    starts: Int[Tensor, " requests_and_one"]
    states: dict[int, Float[Tensor, "tokens hidden"]]


def keep_step(step: StepRecord) -> None:
    """Keep the record of this thread's running step."""
    _running.step = step


def running_step() -> StepRecord:
    """The record of this thread's running step."""
    found: StepRecord = _running.step
    return found
