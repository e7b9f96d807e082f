"""Measure what the server adds to the library: concurrent requests against one batch of the same prompts.

    python bench/serve.py --out results/serve.json

Both write the same texts, in turns. The clients run in a process of their own. "wall" is the ratio of the wall-clock
times, library over server: the server's share of the library's throughput. "cpu" is the same of the CPU times of the
process that writes, which other work on the machine changes little. The time to the first token is that of streams.
"""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated, Any

import typer

PROMPT = "The new neighbours are"


def ask(url: str, rows: int, tokens: int, steer: dict[str, float], answers: Any, begin: Any) -> None:
    """Wait for a sign and send all requests at once, as streams; answers with the seconds to each first token."""
    import asyncio

    import httpx

    async def first_token(client: httpx.AsyncClient, seed: int) -> float:
        asked = {"prompt": f"{PROMPT} {seed}", "seed": seed, "max_tokens": tokens, "stream": True, "steer": steer}
        start, first = time.perf_counter(), 0.0
        async with client.stream("POST", "/v1/completions", json=asked) as answer:
            assert answer.status_code == 200, await answer.aread()
            events = 0
            async for line in answer.aiter_lines():
                events += line.startswith("data: ")
                if events == 2 and not first:  # the first event tells the steer
                    first = time.perf_counter() - start
        return first

    async def main() -> list[float]:
        limits = httpx.Limits(max_connections=rows)
        async with httpx.AsyncClient(base_url=url, timeout=None, limits=limits) as client:
            return list(await asyncio.gather(*(first_token(client, seed) for seed in range(rows))))

    answers.put("ready")
    begin.wait()
    answers.put(asyncio.run(main()))


def serve(lm: Any, rewards: list[Any], rows: int) -> tuple[str, Any, Any]:
    """Start a server in a thread; returns its address, the server and the thread."""
    import threading

    import uvicorn

    from trimtab.server.app import create_app
    from trimtab.server.listening import bind
    from trimtab.server.server_settings import ServerSettings

    listener = bind("127.0.0.1", 0)
    app = create_app(lm, "model", rewards, ServerSettings(max_rows=rows))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    return f"http://127.0.0.1:{listener.getsockname()[1]}", server, thread


@contextmanager
def timed(found: dict[str, list[float]], name: str) -> Iterator[None]:
    """Add the wall-clock and the CPU seconds of a block."""
    cpu, wall = time.process_time(), time.perf_counter()
    yield
    found[name].append(time.perf_counter() - wall)
    found[f"{name}_cpu"].append(time.process_time() - cpu)


def from_clients(asked: tuple[Any, ...], found: dict[str, list[float]]) -> list[float]:
    """Let a process of clients ask; returns the seconds to each first token."""
    spawn = multiprocessing.get_context("spawn")
    answers, begin = spawn.Queue(), spawn.Event()
    clients = spawn.Process(target=ask, args=(*asked, answers, begin))
    clients.start()
    answers.get()  # ready
    with timed(found, "server"):
        begin.set()
        first = answers.get()
    clients.join()
    return first


def main(
    out: Annotated[Path | None, typer.Option(help="The JSON file to write.")] = None,
    model: str = "smollm2",
    reward: Annotated[str, typer.Option(help="A bundled reward to steer by; empty for none.")] = "toxicity-own",
    rows: int = 32,
    tokens: int = 40,
    repeats: int = 3,
) -> None:
    """Compare the server with the library."""
    import trimtab
    from trimtab.data.json_text import dump_json
    from trimtab.data.outputs import check_output, write_whole
    from trimtab.engines.provenance import provenance
    from trimtab.engines.sampling_params import SamplingParams
    from trimtab.server.reward_shelf import RegisteredReward

    target = None if out is None else check_output(out, "--out")
    lm = trimtab.load(model)
    loaded = trimtab.reward(reward, lm) if reward else None
    steer = None if loaded is None else loaded.away(30)
    rewards = [] if loaded is None else [RegisteredReward.of(reward, loaded)]
    url, server, thread = serve(lm, rewards, rows)
    prompts = [f"{PROMPT} {seed}" for seed in range(rows)]
    params = [SamplingParams(seed=seed, max_new_tokens=tokens) for seed in range(rows)]
    found: dict[str, list[float]] = {"library": [], "server": [], "library_cpu": [], "server_cpu": [], "first": []}
    asked = (url, rows, tokens, {reward: -30.0} if reward else {})
    for _ in range(1 + repeats):  # the first turn warms up
        with timed(found, "library"):
            lm.generate(prompts, steer, params)
        found["first"] += from_clients(asked, found)
    server.should_exit = True
    thread.join()
    shown = {
        "rows": rows,
        "tokens": tokens,
        "wall": round(median(a / b for a, b in zip(found["library"][1:], found["server"][1:], strict=True)), 3),
        "cpu": round(median(a / b for a, b in zip(found["library_cpu"][1:], found["server_cpu"][1:], strict=True)), 3),
        "first_token_seconds": {
            "median": round(median(found["first"][rows:]), 3),
            "p95": round(quantiles(found["first"][rows:], n=20)[-1], 3),
        },
    }
    print(dump_json(shown))
    if target is not None:
        write_whole(target, dump_json({**shown, "made_by": provenance(lm.engine, steer)}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
