"""The settings of a draw; no torch here, so that the command line can show them at once."""

import math
from dataclasses import dataclass
from typing import final

from trimtab.errors import InvalidSetting

DEFAULT_TOP_K = 20
DEFAULT_MAX_NEW_TOKENS = 40


@final
@dataclass(frozen=True)
class Sampling:
    """The settings of a draw.

    Attributes:
        top_k: how many candidates; None for no limit. 20 in RAD and ARM.
        top_p: keep the fewest candidates that hold this probability; None for no limit.
        temperature: divides the steered logits; 0 takes the best.
    """

    top_k: int | None = DEFAULT_TOP_K
    top_p: float | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.top_k is not None and self.top_k < 1:
            raise InvalidSetting(f"got top_k={self.top_k}, expected at least 1")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise InvalidSetting(f"got top_p={self.top_p}, expected a probability above 0, at most 1")
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise InvalidSetting(f"got temperature={self.temperature}, expected a finite number, at least 0")

    def check_vocabulary(self, size: int) -> None:
        """Refuse more candidates than there are tokens."""
        if self.top_k is not None and self.top_k > size:
            raise InvalidSetting(f"got top_k={self.top_k}, expected at most the vocabulary of {size}")
