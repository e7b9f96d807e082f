"""Clients in a process of their own, which send all requests of a round at once, as streams."""

import asyncio
import multiprocessing
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, final

from trimtab.data.json_text import parse_json


class Asked(NamedTuple):
    """What every client of a round sends; the number of the client is its seed, and ends its prompt.

    Attributes:
        url: of the server.
        prompt: how every prompt begins.
        rows: how many clients.
        tokens: new tokens of each text.
        steer: as requests have it.
    """

    url: str
    prompt: str
    rows: int
    tokens: int
    steer: dict[str, float]


class Answer(NamedTuple):
    """What one client saw.

    Attributes:
        first: seconds to its first token.
        whole: seconds to the end of its text.
        text: the text.
    """

    first: float
    whole: float
    text: str


@final
class Clients:
    """A round of clients, ready to ask. Starting their process takes seconds, which no figure contains."""

    def __init__(self, asked: Asked):
        spawn = multiprocessing.get_context("spawn")
        self._answers, self._begin = spawn.Queue(), spawn.Event()
        self._process = spawn.Process(target=_ask, args=(asked, self._answers, self._begin), daemon=True)
        self._process.start()
        self._answers.get()

    def ask(self, timed: Callable[[], AbstractContextManager[None]]) -> list[Answer]:
        """Let them ask; returns what they saw, in the order of their numbers.

        Args:
            timed: a context that is open while they ask.

        Raises:
            RuntimeError: a request failed; the message is the server's.
        """
        with timed():
            self._begin.set()
            found = self._answers.get()
        self._process.join()
        if isinstance(found, str):
            raise RuntimeError(found)
        return [Answer(*each) for each in found]


def _ask(asked: Asked, answers: Any, begin: Any) -> None:
    """Wait for a sign, ask, and put the answers, or the message of a fault."""
    import httpx  # before the sign: it takes a moment

    answers.put("ready")
    begin.wait()
    try:
        answers.put(asyncio.run(_ask_all(asked, httpx)))
    except Exception as fault:
        answers.put(f"a request of the benchmark failed: {fault}")


async def _ask_all(asked: Asked, httpx: Any) -> list[tuple[float, float, str]]:
    limits = httpx.Limits(max_connections=asked.rows)
    async with httpx.AsyncClient(base_url=asked.url, timeout=None, limits=limits) as client:
        return list(await asyncio.gather(*(_ask_one(asked, client, seed) for seed in range(asked.rows))))


async def _ask_one(asked: Asked, client: Any, seed: int) -> tuple[float, float, str]:
    body = {"prompt": f"{asked.prompt} {seed}", "seed": seed, "max_tokens": asked.tokens, "stream": True}
    start, first, text = time.perf_counter(), 0.0, ""
    async with client.stream("POST", "/v1/completions", json={**body, "steer": asked.steer}) as answer:
        if answer.status_code != 200:
            raise RuntimeError((await answer.aread()).decode("utf-8", "replace"))
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                event = parse_json(line.removeprefix("data: ").encode())
                if "error" in event:
                    raise RuntimeError(event["error"]["message"])
                text += "".join(choice["text"] for choice in event["choices"])
                first = first or (time.perf_counter() - start if text else 0.0)
    return first, time.perf_counter() - start, text
