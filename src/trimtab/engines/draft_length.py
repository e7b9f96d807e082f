"""How many tokens to draft: as many as pay, by the acceptance that each row has seen."""

from collections.abc import Sequence
from typing import NamedTuple, final

MOST_DRAFTED = 16  # tokens
EXPECTED = 0.5  # the share that is right, before any was tried; it counts as one token
MEMORY = 0.97  # of what was seen, from one call to the next


class CheckCost(NamedTuple):
    """What it costs to check drafts, in forward calls of one token.

    Attributes:
        call: a call of several tokens, however few: other matrix products, masks, and what is taken back.
        token: each token in a call.
    """

    call: float
    token: float


COSTS = {"cpu": CheckCost(0.5, 0.05)}  # SmolLM2 in float32: 5, 9 and 17 tokens take 2.0, 2.3 and 2.6 times one
OTHER_COST = CheckCost(0.1, 0.002)  # where a call's time is that of reading the weights; not measured


@final
class Acceptance:
    """The share of a row's drafted tokens that were right, of late."""

    def __init__(self) -> None:
        self._right = self._tried = 0.0  # of drafted tokens; older ones count less

    @property
    def rate(self) -> float:
        """The probability that the next drafted token is right if those before it are."""
        return (EXPECTED + self._right) / (1 + self._tried)

    def see(self, drafted: int, accepted: int) -> None:
        """Count one call: a wrong token counts once, those behind it were not tried."""
        tried = min(accepted + 1, drafted)
        self._right = MEMORY * self._right + accepted
        self._tried = MEMORY * self._tried + tried


def draft_length(rates: Sequence[float], longest: Sequence[int], cost: CheckCost) -> int:
    """The length of drafts, in tokens, that writes most per unit of time; 0 where none pays.

    A draft of γ tokens that are each right with probability p yields 1 + p + … + p^γ tokens (2211.17192, equation 1).
    The call reads γ + 1 tokens of every row, because the rows of a batch have one length.

    Args:
        rates: of each row, p.
        longest: of each row, the longest draft that it may have.
        cost: of a check.
    """
    rows = len(rates)
    best, length = rows / (1 + cost.token * rows), 0
    written = float(rows)
    for tokens in range(1, min(max(longest), MOST_DRAFTED) + 1):
        written += sum(rate**tokens for rate, most in zip(rates, longest, strict=True) if most >= tokens)
        speed = written / (1 + cost.call + cost.token * rows * (tokens + 1))
        if speed > best:
            best, length = speed, tokens
    return length


def check_cost(device: str) -> CheckCost:
    """What it costs to check drafts on a type of device."""
    return COSTS.get(device, OTHER_COST)
