"""Count the tokens and forward calls of the models."""

from dataclasses import dataclass, field
from threading import Lock

COUNTING = Lock()  # of all counts: threads share a parent


@dataclass
class Usage:
    """The work of one or more models.

    Attributes:
        tokens: positions that were encoded, padding included.
        calls: forward calls.
        parent: a count that includes this one.
    """

    tokens: int = 0
    calls: int = 0
    parent: "Usage | None" = field(default=None, repr=False, compare=False)

    def count(self, tokens: int) -> None:
        """Add one forward call over some tokens."""
        with COUNTING:
            self.tokens += tokens
            self.calls += 1
        if self.parent is not None:
            self.parent.count(tokens)

    def copy(self) -> "Usage":
        """The figures as they are now."""
        return Usage(self.tokens, self.calls)

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(self.tokens - other.tokens, self.calls - other.calls)
