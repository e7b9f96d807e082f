"""Rewind searches: one at a time, in a thread of their own, beside the running batch."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from threading import Event
from typing import Any, cast, final

from trimtab.judges.load import JudgeLike
from trimtab.language_model import LanguageModel
from trimtab.models.codec import Prompt
from trimtab.rewind.result import SearchResult
from trimtab.rewind.rewind_settings import Budget
from trimtab.rewind.runner import SearchProgress
from trimtab.server.api_errors import queue_full, stopping
from trimtab.server.call import Call
from trimtab.server.pieces import Piece


class Left(Exception):
    """The client left, so its search ends."""


@final
class Searches:
    """Runs the searches of all clients in the order in which they came.

    Args:
        lm: searches.
        most: how many may run and wait.
    """

    def __init__(self, lm: LanguageModel, most: int):
        self._lm, self._most = lm, most
        self._threads = ThreadPoolExecutor(1, "trimtab-search")
        self._running: set[SearchTicket] = set()
        self._stopped = False

    @property
    def running(self) -> int:
        """Searches that run or wait."""
        return len(self._running)

    def submit(self, call: Call) -> "SearchTicket":
        """Queue a search; called in the event loop.

        Raises:
            APIError: 429, too many searches; 503, the server stops.
        """
        if self._stopped:
            raise stopping()
        if len(self._running) >= self._most:
            raise queue_full(self._most)
        ticket = SearchTicket(asyncio.get_running_loop())
        self._running.add(ticket)
        ticket.work = self._threads.submit(search, self._lm, call, ticket)
        future = asyncio.wrap_future(ticket.work)
        future.add_done_callback(lambda done: self._ended(ticket, done))
        return ticket

    def stop(self) -> None:
        """End all searches."""
        self._stopped = True
        for ticket in list(self._running):
            ticket.cancel()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _ended(self, ticket: "SearchTicket", done: "asyncio.Future[SearchResult]") -> None:
        self._running.discard(ticket)
        if done.cancelled():
            ticket.put(stopping() if self._stopped else Left("the client left"))
        else:
            ticket.put(done.exception() or done.result())


@final
class SearchTicket:
    """One search on its way: its progress, and then its result or its fault.

    Attributes:
        rows, submitted, joined, first_token, ended, tokens: as in a `Ticket`. A search's text comes whole.
        work: the search in its thread.
    """

    work: "Future[SearchResult] | None" = None

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self.rows, self.tokens = 1, 0
        self.submitted = time.perf_counter()
        self.joined: float | None = None
        self.first_token: float | None = None
        self.ended: float | None = None
        self._loop, self._left = loop, Event()
        self._told = 0  # commits
        self._events: asyncio.Queue[SearchResult | BaseException | dict[str, Any]] = asyncio.Queue()

    @property
    def left(self) -> bool:
        """Whether the client left."""
        return self._left.is_set()

    def put(self, event: SearchResult | BaseException | dict[str, Any]) -> None:
        """Add an event; called in the event loop."""
        self._events.put_nowait(event)

    def report(self, progress: SearchProgress) -> None:
        """Note the state after a turn; called in the search's thread.

        Raises:
            Left: nobody waits for the result.
        """
        if self._left.is_set():
            raise Left("the client left")
        record = progress_record(progress, self._told)
        self._told += len(record["commits"])
        self._loop.call_soon_threadsafe(self.put, record)

    async def events(self) -> AsyncIterator[SearchResult | dict[str, Any]]:
        """The progress after each turn, and then the result, unless the client left.

        Raises:
            BaseException: whatever else ended the search.
        """
        while True:
            event = await self._events.get()
            if isinstance(event, Left):
                return
            if isinstance(event, BaseException):
                raise event
            yield event
            if isinstance(event, SearchResult):
                return

    def cancel(self) -> None:
        """End the search after its turn, or at once if it waits."""
        self._left.set()
        if self.work is not None:
            self.work.cancel()


def search(lm: LanguageModel, call: Call, ticket: SearchTicket) -> SearchResult:
    """Search a call's text."""
    assert call.search is not None
    ticket.joined = time.perf_counter()
    (found,) = lm.rewind(
        cast(Sequence[Prompt], call.prompts),  # the intake lets no token ids pass
        judge_of(call),
        call.steer,
        call.search_settings,
        similarity=call.search.similarity,
        stop=call.params.stop,
        seed=call.params.seed,
        budget=budget_of(call),
        progress=ticket.report,
    )
    ticket.first_token = ticket.ended = time.perf_counter()
    return found


def judge_of(call: Call) -> JudgeLike:
    """What judges a call's search: registered rewards, or the model by one of its questions."""
    assert call.search is not None
    return call.search.judge if call.judge is None else call.judge


def budget_of(call: Call) -> Budget:
    """The limit of a call's search."""
    assert call.search is not None
    return Budget(max_seconds=call.search.max_seconds)


def progress_record(progress: SearchProgress, told: int = 0) -> dict[str, Any]:
    """The state of a search, ready for JSON: its new commits, and the branches that were tried since the last one.

    Args:
        progress: the state.
        told: how many commits earlier records had.
    """
    (running,) = progress.searches
    return {
        "iterations": running.iterations,
        "text": "".join(commit.text for commit in running.commits),
        "commits": [asdict(commit) for commit in running.commits[told:]],
        "branches": [asdict(branch) for branch in running.branches],
        "seconds": round(progress.seconds, 3),
        "encoded_tokens": progress.usage.tokens,
    }


def search_record(found: SearchResult) -> dict[str, Any]:
    """What a response says of a search."""
    return {
        "iterations": found.iterations,
        "taken_back": found.taken_back,
        "seconds": round(found.seconds, 3),
        "encoded_tokens": found.usage.tokens,
        "commits": [asdict(commit) for commit in found.commits],
    }


def search_piece(found: SearchResult) -> Piece:
    """The text of a search as a piece."""
    return Piece(found.text, tuple(found.trace), found.generation.finish_reason, 0, {"rewind": search_record(found)})
