"""One thread owns the engine and one running batch: requests wait in a bounded queue and join between steps."""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import final

from trimtab.engines.base import Chunk, Engine, Request
from trimtab.errors import TrimtabError, out_of_memory
from trimtab.server.api_errors import internal, no_memory, queue_full, stopping
from trimtab.server.batches import start_batch
from trimtab.server.members import Member, NotReplayed, rows_of, unfinished
from trimtab.server.memory import release_memory
from trimtab.server.metrics import Metrics
from trimtab.server.ticket import Event, Ticket

LOG = logging.getLogger("trimtab.server")
STOP_SECONDS = 30.0


@final
class Scheduler:
    """Writes the requests of all clients in one batch.

    Requests are served in the order in which they came. A request joins when all its rows have room.

    Args:
        engine: writes the texts.
        max_rows: rows that are written together.
        max_queue: requests that may wait.
        metrics: counts tokens and times.
    """

    def __init__(self, engine: Engine, max_rows: int, max_queue: int, metrics: Metrics):
        self._engine, self._max_rows, self._max_queue, self._metrics = engine, max_rows, max_queue, metrics
        self._batch = start_batch(engine)
        self._members: dict[int, Member] = {}
        self._waiting: deque[Ticket] = deque()
        self._cancelled: set[Ticket] = set()
        self._outgoing: list[tuple[Ticket, Event]] = []
        self._wake = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="trimtab-scheduler", daemon=True)
        metrics.watch(queued=lambda: len(self._waiting), rows=lambda: self.rows)

    @property
    def rows(self) -> int:
        """Rows that are being written."""
        return rows_of(list(self._members.values()))

    @property
    def queued(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive() and not self._stopped

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End all requests and the thread."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        self._thread.join(STOP_SECONDS)

    def submit(self, requests: Sequence[Request]) -> Ticket:
        """Queue the prompts of one HTTP request; called in the event loop.

        Raises:
            APIError: 429, the queue is full; 503, the server stops.
        """
        ticket = Ticket(requests, self._cancel)
        with self._wake:
            if self._stopped:
                raise stopping()
            if len(self._waiting) >= self._max_queue:
                raise queue_full(len(self._waiting))
            self._waiting.append(ticket)
            self._wake.notify()
        return ticket

    def _cancel(self, ticket: Ticket) -> None:
        with self._wake:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            else:
                self._cancelled.add(ticket)
                self._wake.notify()

    def _run(self) -> None:
        try:
            while True:
                with self._wake:
                    self._wake.wait_for(lambda: self._waiting or self._cancelled or self._members or self._stopped)
                    if self._stopped:
                        break
                    cancelled, self._cancelled = self._cancelled, set()
                    joining = self._admitted(sum(rows_of(self._of(ticket)) for ticket in cancelled))
                self._turn(cancelled, joining)
        except Exception as error:
            LOG.critical("the scheduler cannot go on; start the server again", exc_info=error)
        self._end_all()

    def _admitted(self, leaving: int) -> list[Ticket]:
        """Take the first requests of the queue that have room together."""
        joining: list[Ticket] = []
        free = self._max_rows - self.rows + leaving
        while self._waiting and self._waiting[0].rows <= free:
            joining.append(self._waiting.popleft())
            free -= joining[-1].rows
        return joining

    def _turn(self, cancelled: Iterable[Ticket], joining: Sequence[Ticket]) -> None:
        """Drop and add requests, and write a token of every row. As long as a batch can be built, the thread lives."""
        new = [member for ticket in joining for member in Member.of(ticket)]
        for ticket in joining:
            ticket.joined = time.perf_counter()
        try:
            self._drop(*cancelled)
            if new:
                self._add(new)
            if self._members:
                self._step()
        except Exception as error:
            self._recover(error, new)
        self._deliver()

    def _add(self, members: Sequence[Member]) -> None:
        """Add requests together; if the engine refuses one, one by one."""
        try:
            numbers = self._batch.add([member.request for member in members])
        except TrimtabError as error:
            if len(members) == 1:
                self._fail(members[0].ticket, error)
                return
            self._add_each(members)
        else:
            self._members |= dict(zip(numbers, members, strict=True))

    def _add_each(self, members: Sequence[Member]) -> None:
        """Add requests one by one, but for those whose ticket has failed meanwhile."""
        for member in members:
            if not member.ticket.failed:
                self._add([member])

    def _step(self) -> None:
        news: dict[Ticket, list[Chunk]] = {}
        chunks = self._batch.step()
        try:
            for chunk in chunks:
                if (member := self._members.get(chunk.request)) is not None:
                    self._take(chunk, member, news)
        finally:  # what was taken is delivered, also if a row could not be dropped
            self._tell(news)

    def _tell(self, news: dict[Ticket, list[Chunk]]) -> None:
        now = time.perf_counter()
        for ticket, chunks in news.items():
            self._count(ticket, chunks, now)
            self._outgoing.append((ticket, chunks))
            if any(chunk.finish_reason for chunk in chunks):
                self._end_if_written(ticket, now)

    def _take(self, chunk: Chunk, member: Member, news: dict[Ticket, list[Chunk]]) -> None:
        try:
            if chunk.fault is not None:
                raise chunk.fault
            if (new := member.take(chunk)) is not None:
                news.setdefault(member.ticket, []).append(new)
        except TrimtabError as fault:
            news.pop(member.ticket, None)
            self._fail(member.ticket, no_memory() if isinstance(fault, NotReplayed) else fault)

    def _count(self, ticket: Ticket, chunks: Sequence[Chunk], now: float) -> None:
        if ticket.first_token is None:
            ticket.first_token = now
            self._metrics.first_token(now - ticket.submitted)
        ticket.tokens += sum(len(chunk.choices) for chunk in chunks)

    def _end_if_written(self, ticket: Ticket, now: float) -> None:
        if rows_of(self._of(ticket)) == 0:
            self._members = {number: each for number, each in self._members.items() if each.ticket is not ticket}
            ticket.ended = now
            self._outgoing.append((ticket, None))

    def _of(self, ticket: Ticket) -> list[Member]:
        return [member for member in self._members.values() if member.ticket is ticket]

    def _fail(self, ticket: Ticket, error: Exception) -> None:
        """End a ticket. Its client is told also if its rows cannot be dropped."""
        ticket.failed = True
        self._outgoing.append((ticket, error))
        self._drop(ticket)

    def _drop(self, *tickets: Ticket) -> None:
        """Free the rows of some tickets. Should that fail, a batch that is built anew has none of them."""
        gone = [number for number, member in self._members.items() if member.ticket in tickets]
        for number in gone:
            del self._members[number]
        for number in gone:
            self._batch.cancel(number)

    def _recover(self, error: Exception | None, new: Sequence[Member]) -> None:
        """Build the batch anew, and start its unfinished requests again; what they wrote before is dropped.

        Without memory, the newest request ends. After a bug, the requests end that were being added, or else all.
        """
        running = list(self._members.values())
        adding = unfinished([member for member in new if member not in running])
        members = running + adding
        while error is not None:
            members = unfinished(members)
            self._end_some(error, members, adding)
            adding = []
            try:
                self._drop_batch()
                release_memory(error)
                error = self._rebuild(unfinished(members))
            except Exception:
                self._members = dict(enumerate(unfinished(members)))  # `_end_all` tells their clients
                raise

    def _end_some(self, error: Exception, members: Sequence[Member], adding: Sequence[Member]) -> None:
        """Tell the clients of some requests that an error ends these.

        Args:
            error: what failed.
            members: all requests, the newest at the end.
            adding: those that were being added.
        """
        if out_of_memory(error):
            ended, fault = members[-1:], no_memory()
        else:
            LOG.error("the engine failed", exc_info=error)
            ended, fault = adding or members, internal()
        for ticket in dict.fromkeys(member.ticket for member in ended):
            ticket.failed = True
            self._outgoing.append((ticket, fault))

    def _drop_batch(self) -> None:
        """Put an empty batch in the place of one that failed."""
        self._close()
        self._members, self._batch = {}, start_batch(self._engine)

    def _rebuild(self, members: Sequence[Member]) -> Exception | None:
        """Start requests again in an empty batch; returns what went wrong."""
        try:
            for member in members:
                member.restart()
            self._add_each(members)
        except Exception as error:
            return error
        return None

    def _end_all(self) -> None:
        """Tell every client that the server stops."""
        with self._wake:
            self._stopped = True
            tickets = [*(member.ticket for member in self._members.values()), *self._waiting]
            self._members, self._waiting = {}, deque()
        self._outgoing += [(ticket, stopping()) for ticket in dict.fromkeys(tickets)]
        self._deliver()
        self._close()

    def _close(self) -> None:
        """Drop the rows of the batch, which the engine would otherwise write to their ends."""
        try:
            self._batch.close()
        except Exception as error:
            LOG.error("the engine cannot drop its rows", exc_info=error)

    def _deliver(self) -> None:
        """Hand all events to their event loops: one call for each loop."""
        outgoing, self._outgoing = self._outgoing, []
        for loop in {ticket.loop for ticket, _ in outgoing}:
            events = [(ticket, event) for ticket, event in outgoing if ticket.loop is loop]
            if not loop.is_closed():
                loop.call_soon_threadsafe(_put_all, events)


def _put_all(events: Sequence[tuple[Ticket, Event]]) -> None:
    for ticket, event in events:
        ticket.put(event)
