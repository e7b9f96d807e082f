"""What reads a language model's hidden states while the model runs: a depth is kept, or a side network reads some."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor
from transformers import DynamicCache

LAST = -1  # the depth after the final norm


@runtime_checkable
class SideNetwork(Protocol):
    """A causal network over a model's hidden states. A `KVCache` runs it beside the model and keeps its keys.

    Attributes:
        taps: the depths of the hidden states that it reads, ascending.
    """

    taps: tuple[int, ...]

    def __call__(
        self,
        states: Sequence[Float[Tensor, "rows new hidden"]],
        visible: Bool[Tensor, "rows new slots"] | None = None,
        cache: DynamicCache | None = None,
    ) -> Float[Tensor, "rows new width"]:
        """The network's state at each new token.

        Args:
            states: the model's hidden states of the new tokens at each of `taps`.
            visible: the columns that each of them sees; None: all up to its own.
            cache: the keys and values of the tokens before, to which those of the new ones are added.
        """


Reader = int | SideNetwork  # a depth, or a network of its own
