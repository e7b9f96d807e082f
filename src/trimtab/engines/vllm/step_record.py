"""What the running step of vLLM's model has read and computed: its forward writes it, the logits processor reads it."""

import threading
from dataclasses import dataclass
from typing import final

from jaxtyping import Float, Int
from torch import Tensor

from trimtab.errors import UnsupportedByEngine
from trimtab.models.side_network import LAST

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

    def at(self, depth: int) -> Float[Tensor, "tokens hidden"]:
        """The hidden states of a depth.

        Raises:
            UnsupportedByEngine: the model does not keep that depth.
        """
        if depth not in self.states:
            raise UnsupportedByEngine(missing_depths([depth], sorted(set(self.states) - {LAST})))
        return self.states[depth]


def keep_step(step: StepRecord) -> None:
    """Keep the record of this thread's running step."""
    _running.step = step


def running_step() -> StepRecord:
    """The record of this thread's running step."""
    found: StepRecord = _running.step
    return found


def missing_depths(wanted: list[int], kept: list[int]) -> str:
    """The message about depths that the model does not keep."""
    return (
        f"got a reward that reads the hidden states at the depths {', '.join(map(str, wanted))}, expected depths among "
        f"{', '.join(map(str, kept))}; load the model with engine_options={{'taps': […]}}"
    )
