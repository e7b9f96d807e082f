"""Clients that keep a server busy: random requests and steers, as streams and not, and random departures.

python bench/serve_clients.py http://127.0.0.1:8000 --prompts prompts.json --reward toxicity --out seen.json
"""

import asyncio
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

BETAS = (-20.0, -5.0, 5.0, 20.0)
LEAVES = 1 / 3  # share of the clients that leave before their text has ended
PATIENCE = 0.3  # seconds at most that such a client waits for an answer that is no stream
BUSY = 429
PAUSE = 0.05  # seconds before a client that was turned away asks again


class Seen:
    """What the clients saw: statuses, departures, and each whole text with its request."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.left = 0
        self.texts: list[dict[str, Any]] = []

    def record(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        return {"statuses": dict(self.statuses), "left": self.left, "texts": self.texts}


def request(chance: random.Random, prompts: list[str], rewards: list[str], tokens: int) -> dict[str, Any]:
    """A request with a steer of no, one or several rewards."""
    steered = chance.sample(rewards, chance.randint(0, len(rewards)))
    return {
        "prompt": chance.choice(prompts),
        "seed": chance.randrange(2**31),
        "max_tokens": chance.randint(1, tokens),
        "temperature": chance.choice([0, 0.7, 1]),
        "steer": {name: chance.choice(BETAS) for name in steered},
    }


async def ask_whole(http: httpx.AsyncClient, body: dict[str, Any], patience: float | None, seen: Seen) -> None:
    """Ask for a text in one piece; leave when the patience ends."""
    try:
        answer = await http.post("/v1/completions", json=body, timeout=patience)
    except httpx.TimeoutException:
        seen.left += 1
        return
    seen.statuses[answer.status_code] += 1
    if answer.status_code == 200:
        seen.texts.append({**body, "text": answer.json()["choices"][0]["text"]})


async def ask_stream(http: httpx.AsyncClient, body: dict[str, Any], stay: int | None, seen: Seen) -> None:
    """Ask for a stream; leave after some events."""
    text, events = "", 0
    async with http.stream("POST", "/v1/completions", json={**body, "stream": True}) as answer:
        seen.statuses[answer.status_code] += 1
        async for line in answer.aiter_lines():
            if events == stay:
                seen.left += 1
                return
            if line.startswith("data: {"):
                event = json.loads(line.removeprefix("data: "))
                if "error" in event:
                    raise RuntimeError(event["error"]["message"])
                text += "".join(choice["text"] for choice in event["choices"])
                events += 1
    if answer.status_code == 200:
        seen.texts.append({**body, "text": text})


async def keep_asking(
    number: int, http: httpx.AsyncClient, prompts: list[str], rewards: list[str], tokens: int, until: float, seen: Seen
) -> None:
    """One client: it asks again and again."""
    chance = random.Random(number)
    while time.monotonic() < until:
        body = request(chance, prompts, rewards, tokens)
        leaves, refused = chance.random() < LEAVES, seen.statuses[BUSY]
        if chance.random() < 0.5:
            await ask_stream(http, body, chance.randrange(tokens) if leaves else None, seen)
        else:
            await ask_whole(http, body, chance.uniform(0, PATIENCE) if leaves else None, seen)
        if seen.statuses[BUSY] > refused:
            await asyncio.sleep(PAUSE)


async def run(url: str, clients: int, seconds: float, prompts: list[str], rewards: list[str], tokens: int) -> Seen:
    """All clients at once; those that wait for a text when the time is over get it."""
    seen, until = Seen(), time.monotonic() + seconds
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=clients)
    async with httpx.AsyncClient(base_url=url, timeout=None, limits=limits) as http:
        work = (keep_asking(number, http, prompts, rewards, tokens, until, seen) for number in range(clients))
        await asyncio.gather(*work)
    return seen


def main(
    url: Annotated[str, typer.Argument(help="Address of the server.")],
    prompts: Annotated[Path, typer.Option(help="JSON file with a list of prompts.")],
    out: Annotated[Path, typer.Option(help="JSON file to write.")],
    reward: Annotated[list[str] | None, typer.Option(help="A registered reward. Repeat for several.")] = None,
    clients: Annotated[int, typer.Option(help="Clients at once.")] = 100,
    seconds: Annotated[float, typer.Option(help="How long they ask.")] = 120.0,
    tokens: Annotated[int, typer.Option(help="Most new tokens of a text.")] = 24,
) -> None:
    """Ask, and write what was seen."""
    given = json.loads(prompts.read_text(encoding="utf-8"))
    seen = asyncio.run(run(url, clients, seconds, given, reward or [], tokens))
    out.write_text(json.dumps(seen.record()), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
