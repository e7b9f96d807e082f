"""The requests in a running batch: which ticket each belongs to, what it wrote, and how many rows it still has."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import final

from trimtab.engines.base import Chunk, Request
from trimtab.errors import TrimtabError
from trimtab.server.ticket import Ticket


class NotReplayed(TrimtabError):
    """A text that was started again after a fault came out differently."""


@final
@dataclass(eq=False)
class Member:
    """One prompt of a ticket, in a batch.

    A batch that loses its memory is built anew: each request starts again, and what it wrote before is dropped.

    Attributes:
        ticket: of the HTTP request.
        place: of the prompt in it.
        open_samples: those that are unfinished.
        written: the tokens of each sample that were delivered.
        read: how many of these were written again.
    """

    ticket: Ticket
    place: int
    open_samples: set[int] = field(default_factory=set)
    written: list[list[int]] = field(default_factory=list)
    read: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, ticket: Ticket) -> "list[Member]":
        """The members of a new ticket."""
        return [
            cls(ticket, place, set(range(n)), [[] for _ in range(n)], [0] * n)
            for place, n in enumerate(request.params.n for request in ticket.requests)
        ]

    @property
    def request(self) -> Request:
        """What the engine is asked for."""
        return self.ticket.requests[self.place]

    def restart(self) -> None:
        """Expect every token again."""
        self.read = [0] * len(self.written)

    def take(self, chunk: Chunk) -> Chunk | None:
        """The part of a chunk that was not delivered before, for the ticket; None if there is none.

        Raises:
            NotReplayed: a token differs from the one that was delivered.
        """
        written, start = self.written[chunk.sample], self.read[chunk.sample]
        ids = [choice.token_id for choice in chunk.choices]
        again = written[start : start + len(ids)]
        if ids[: len(again)] != again:
            raise NotReplayed("the text came out differently when it was started again; send the request again")
        self.read[chunk.sample] += len(ids)
        written += ids[len(again) :]
        known = chunk.sample in self.open_samples
        if chunk.finish_reason is not None:
            self.open_samples.discard(chunk.sample)
        new = chunk.choices[len(again) :]
        return replace(chunk, request=self.place, choices=new) if known and (new or chunk.finish_reason) else None


def rows_of(members: Sequence[Member]) -> int:
    """How many rows are unfinished."""
    return sum(len(member.open_samples) for member in members)


def unfinished(members: Sequence[Member]) -> list[Member]:
    """Those for which a client waits."""
    return [member for member in members if member.open_samples and not member.ticket.failed]
