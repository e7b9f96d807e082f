"""The hidden states that a KV cache keeps beside its keys, so that a rollback finds the state before."""

from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trimtab.models.cache_rows import put_first


@final
class StateHistory:
    """The states of the tokens that were fed, in the pieces in which they came: to add a token copies nothing."""

    def __init__(self) -> None:
        self._pieces: list[Tensor] = []

    @property
    def tokens(self) -> int:
        """How many tokens of each row it holds."""
        return sum(piece.shape[1] for piece in self._pieces)

    def append(self, states: Float[Tensor, "rows new hidden"]) -> None:
        """Add the states of new tokens."""
        self._pieces.append(states)

    def last(self) -> Float[Tensor, "rows hidden"]:
        """The state of each row's last token."""
        return self._pieces[-1][:, -1]

    def at(self, before: Int[Tensor, " rows"], most: int) -> Float[Tensor, "rows hidden"]:
        """The state of each row this many tokens before its last one, and `most` at most."""
        recent = self.recent(most + 1)
        return recent[torch.arange(len(recent), device=recent.device), recent.shape[1] - 1 - before]

    def recent(self, tokens: int) -> Float[Tensor, "rows tokens hidden"]:
        """The states of each row's last tokens."""
        if self._pieces[-1].shape[1] < tokens:
            self.whole()
        return self._pieces[-1][:, -tokens:]

    def arrange(self, order: Int[Tensor, "rows kept"], new: int) -> None:
        """Put the states of some of the last `new` tokens before the others of them."""
        states = self.recent(new).clone()
        put_first(states, order, axis=1)
        self.rollback(new)
        self.append(states)

    def rollback(self, tokens: int) -> None:
        """Drop the states of the last tokens."""
        while tokens:
            piece = self._pieces.pop()
            if (kept := piece.shape[1] - tokens) > 0:
                self._pieces.append(piece[:, :kept])
            tokens = max(-kept, 0)

    def select(self, rows: Int[Tensor, " selected"]) -> None:
        """Make row i what row `rows[i]` was."""
        self._pieces = [self.whole()[rows]]

    def compact(self, mask: Bool[Tensor, "rows slots"]) -> None:
        """Keep the states of the columns that the mask shows; the others of each row move together, to the right.

        What is left reaches equally far back in every row.

        Args:
            mask: of the columns, of which the last ones have these states.
        """
        known = mask[:, -self.tokens :]
        order = known.byte().argsort(dim=1, stable=True)[:, -int(known.sum(1).min()) :]
        self._pieces = [self.whole().gather(1, order[..., None].expand(-1, -1, self.whole().shape[2]))]

    def keep_last(self, tokens: int) -> None:
        """Keep the states of at most this many tokens, the last ones."""
        if self.tokens > tokens:
            self._pieces = [self.whole()[:, -tokens:]]

    def whole(self) -> Float[Tensor, "rows tokens hidden"]:
        """All states in one tensor."""
        if len(self._pieces) > 1:
            self._pieces = [torch.cat(self._pieces, dim=1)]
        return self._pieces[0]


def join_histories(ours: StateHistory | None, theirs: StateHistory | None, rows: tuple[int, int]) -> StateHistory:
    """The rows of one history, then those of another, as far back as both reach.

    Args:
        ours, theirs: two histories; the rows of one that is None get zeros.
        rows: how many rows each of the two caches has.
    """
    known = theirs if ours is None else ours
    assert known is not None
    zeros = [known.whole().new_zeros(count, *known.whole().shape[1:]) for count in rows]
    whole = [zero if each is None else each.whole() for each, zero in zip((ours, theirs), zeros, strict=True)]
    length = min(states.shape[1] for states in whole)
    joined = StateHistory()
    joined.append(torch.cat([states[:, -length:] for states in whole]))
    return joined
