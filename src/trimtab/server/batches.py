"""Batches whose rows join and leave: the engine's own, or one that drives an engine by its streams."""

from collections.abc import Iterator, Sequence
from typing import Protocol, final, runtime_checkable

from trimtab.engines.base import Chunk, Engine, Request, StartsBatches
from trimtab.errors import TrimtabError


@runtime_checkable
class Batch(Protocol):
    """Requests that are written together. One thread uses it."""

    def add(self, requests: Sequence[Request]) -> list[int]:
        """Add the rows of new requests; returns the requests' numbers."""

    def step(self) -> list[Chunk]:
        """Write a token of every row."""

    def cancel(self, number: int) -> None:
        """Drop the rows of a request."""

    def close(self) -> None:
        """Drop all rows, also after a step that failed."""


@final
class EngineBatch:
    """The running batch of an engine that has one."""

    def __init__(self, engine: StartsBatches):
        self._engine, self._batch = engine, engine.start_batch()

    def add(self, requests: Sequence[Request]) -> list[int]:
        """Encode the prompts of new requests together and add their rows."""
        return self._batch.add(requests, self._engine.limits(requests))

    def step(self) -> list[Chunk]:
        """Write a token of every row."""
        return self._batch.step()

    def cancel(self, number: int) -> None:
        """Drop the rows of a request."""
        self._batch.cancel(number)

    def close(self) -> None:
        """Drop all rows."""
        self._batch.close()


@final
class StreamedBatch:
    """A batch over any engine: each request is a stream of its own, and the streams take turns."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self._streams: dict[int, Iterator[list[Chunk]]] = {}
        self._added = 0

    def add(self, requests: Sequence[Request]) -> list[int]:
        """Start a stream for each request."""
        streams = [self._engine.stream([request]) for request in requests]
        numbers = list(range(self._added, self._added + len(requests)))
        self._added += len(requests)
        self._streams |= dict(zip(numbers, streams, strict=True))
        return numbers

    def step(self) -> list[Chunk]:
        """The next tokens of every stream."""
        return [chunk for number in list(self._streams) for chunk in self._next(number)]

    def cancel(self, number: int) -> None:
        """Drop the stream of a request."""
        self._streams.pop(number, None)

    def close(self) -> None:
        """Drop all streams."""
        self._streams.clear()

    def _next(self, number: int) -> list[Chunk]:
        try:
            chunks = next(self._streams[number], None)
        except TrimtabError as fault:
            del self._streams[number]
            return [Chunk(number, 0, (), None, fault)]
        if chunks is None:
            del self._streams[number]
            return []
        return [Chunk(number, each.sample, each.choices, each.finish_reason, each.fault) for each in chunks]


def start_batch(engine: Engine) -> Batch:
    """An empty batch of an engine."""
    return EngineBatch(engine) if isinstance(engine, StartsBatches) else StreamedBatch(engine)


def check_request(engine: Engine, request: Request) -> None:
    """Check a request before it waits, as far as its engine can.

    Raises:
        InvalidSetting, InvalidPrompt, RewardMismatch: the engine refuses it.
    """
    request.params.check_vocabulary(engine.vocabulary_size)
    if isinstance(engine, StartsBatches):
        engine.limits([request])
