"""Counters for Prometheus, of one server."""

from collections.abc import Callable
from typing import final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

FIRST_TOKEN_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


@final
class Metrics:
    """What `/metrics` shows. It may be used from several threads."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter("trimtab_requests", "Answered requests.", ["route", "status"], registry=registry)
        self._tokens = Counter("trimtab_tokens", "Tokens of prompts and of texts.", ["kind"], registry=registry)
        self._queued = Gauge("trimtab_queue_length", "Requests that wait for rows.", registry=registry)
        self._rows = Gauge("trimtab_rows", "Rows that are being written.", registry=registry)
        self._first = Histogram(
            "trimtab_time_to_first_token_seconds",
            "From the request's arrival in the queue to its first token.",
            buckets=FIRST_TOKEN_SECONDS,
            registry=registry,
        )
        self._per_token = Histogram(
            "trimtab_time_per_token_seconds",
            "Mean time of a token after a row's first, of each request.",
            buckets=TOKEN_SECONDS,
            registry=registry,
        )

    def watch(self, queued: Callable[[], int], rows: Callable[[], int]) -> None:
        """Read the queue's length and the number of rows when asked."""
        self._queued.set_function(queued)
        self._rows.set_function(rows)

    def answered(self, route: str, status: int) -> None:
        """Count a response."""
        self._requests.labels(route, str(status)).inc()

    def first_token(self, seconds: float) -> None:
        """Note the time to the first token of a request."""
        self._first.observe(seconds)

    def written(self, prompt_tokens: int, completion_tokens: int, seconds_per_token: float | None) -> None:
        """Count the tokens of a request that has ended."""
        self._tokens.labels("prompt").inc(prompt_tokens)
        self._tokens.labels("completion").inc(completion_tokens)
        if seconds_per_token is not None:
            self._per_token.observe(seconds_per_token)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
