"""How many tokens to draft: as many as pay, by the acceptance that each row has seen."""

from collections.abc import Sequence
from typing import final

MOST_DRAFTED = 16  # tokens
TOKEN_COST = {"cpu": 0.02}  # of one more token in a forward call, in calls of one token; measured on two CPU cores
OTHER_TOKEN_COST = 0.002  # where a call's time is that of reading the weights
CHECK_COST = 0.03  # of checking a draft at all: masks, sampling in several places, and what is taken back
EXPECTED = 0.5  # the share that is right, before any was tried; it counts as one token
MEMORY = 0.97  # of what was seen, from one call to the next


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


def draft_length(rates: Sequence[float], longest: Sequence[int], token_cost: float) -> int:
    """The length of drafts, in tokens, that writes most per unit of time; 0 where none pays.

    A draft of γ tokens that are each right with probability p yields 1 + p + … + p^γ tokens (2211.17192, equation 1).
    The call reads γ + 1 tokens of every row, because the rows of a batch have one length.

    Args:
        rates: of each row, p.
        longest: of each row, the longest draft that it may have.
        token_cost: of one more token in a forward call, in calls of one token.
    """
    rows = len(rates)
    best, length = rows / (1 + token_cost * rows), 0
    written = float(rows)
    for tokens in range(1, min(max(longest), MOST_DRAFTED) + 1):
        written += sum(rate**tokens for rate, most in zip(rates, longest, strict=True) if most >= tokens)
        speed = written / (1 + CHECK_COST + token_cost * rows * (tokens + 1))
        if speed > best:
            best, length = speed, tokens
    return length


def token_cost(device: str) -> float:
    """What one more token in a forward call costs on a type of device, in calls of one token."""
    return TOKEN_COST.get(device, OTHER_TOKEN_COST)
