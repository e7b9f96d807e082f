"""One HTTP request on its way through the scheduler: the event loop reads what the scheduler's thread writes."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import final

from trimtab.engines.base import Chunk, Request

Event = list[Chunk] | Exception | None  # new tokens, a fault, or the end


@final
class Ticket:
    """The rows of one HTTP request. It belongs to one event loop.

    Args:
        requests: one for each prompt.
        on_cancel: called when the client leaves.

    Attributes:
        rows: samples of all prompts.
        submitted, joined, first_token, ended: times of `time.perf_counter`; None until then.
        tokens: how many were written.
        failed: whether a fault ended it.
        left: whether the client left.
    """

    def __init__(self, requests: Sequence[Request], on_cancel: Callable[["Ticket"], None]):
        self.requests = tuple(requests)
        self.rows = sum(request.params.n for request in requests)
        self.submitted = time.perf_counter()
        self.joined: float | None = None
        self.first_token: float | None = None
        self.ended: float | None = None
        self.tokens = 0
        self.failed = self.left = False
        self._on_cancel = on_cancel
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._closed = False

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that reads it."""
        return self._loop

    def put(self, event: Event) -> None:
        """Add an event; called in the event loop."""
        self._events.put_nowait(event)

    async def chunks(self) -> AsyncIterator[list[Chunk]]:
        """New tokens as they come; the number of a chunk's request is its prompt's place.

        Raises:
            Exception: whatever ended the request.
        """
        while (event := await self._events.get()) is not None:
            if isinstance(event, Exception):
                self._closed = True
                raise event
            yield event
        self._closed = True

    def cancel(self) -> None:
        """Free the rows, unless the request has ended. A reader gets no further tokens."""
        if not self._closed:
            self._closed = self.left = True
            self._on_cancel(self)
            self.put(None)
