"""When a row has ended: EOS, a stop string, or its limit."""

from collections.abc import Sequence
from typing import final

from trimtab.engines.base import FinishReason
from trimtab.frozen.lm import FrozenLM

WINDOW_MARGIN = 8  # tokens looked at beyond the longest stop string's bytes


@final
class Ending:
    """What each row has written so far, and whether that ends it.

    Args:
        lm: whose tokens they are.
        limits: the most tokens of each row.
        until: the characters that end each row.
        stop: the strings that end any row.
    """

    def __init__(self, lm: FrozenLM, limits: Sequence[int], until: Sequence[str], stop: Sequence[str]):
        self._lm, self._limits, self._until, self._stop = lm, limits, until, [s for s in stop if s]
        self._tokens: list[list[int]] = [[] for _ in limits]
        self._reasons: dict[int, FinishReason] = {}
        self._window = max((len(s.encode()) for s in self._stop), default=0) + WINDOW_MARGIN

    def length(self, row: int) -> int:
        """How many tokens a row has."""
        return len(self._tokens[row])

    def reason(self, row: int) -> FinishReason | None:
        """Why a row ended; None while it goes on."""
        return self._reasons.get(row)

    def take(self, row: int, tokens: Sequence[int]) -> int:
        """Append tokens up to the row's end; returns how many were taken."""
        for count, token in enumerate(tokens, start=1):
            self._tokens[row].append(token)
            if (reason := self._why(row, token)) is not None:
                self._reasons[row] = reason
                return count
        return len(tokens)

    def _why(self, row: int, token: int) -> FinishReason | None:
        if token in self._lm.eos_token_ids:
            return "eos"
        if self._stop and any(s in self._lm.decode(self._tokens[row][-self._window :]) for s in self._stop):
            return "stop"
        if self._until[row] and self._lm.decode(self._tokens[row][-WINDOW_MARGIN:]).endswith(tuple(self._until[row])):
            return "until"
        return "length" if self.length(row) >= self._limits[row] else None
