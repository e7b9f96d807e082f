"""What the server adds to the library: requests at once against one batch of the same prompts, in turns."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median, quantiles
from typing import Any

from trimtab.benchmark.rows import MADE_BY
from trimtab.benchmark.run import load_average
from trimtab.engines.provenance import provenance
from trimtab.engines.sampling_params import SamplingParams
from trimtab.language_model import LanguageModel
from trimtab.models.processor import processor_name
from trimtab.server.app import create_app
from trimtab.server.listening import running
from trimtab.server.load_clients import Answer, Asked, Clients
from trimtab.server.load_settings import LoadSettings
from trimtab.server.reward_shelf import RegisteredReward, RewardShelf
from trimtab.server.schemas import SteerTerm
from trimtab.server.server_settings import ServerSettings

PROMPT = "The new neighbours are"
LEAST_SHARE = 0.85  # of the library's throughput, at 32 rows
Times = dict[str, list[float]]


def measure_server(
    lm: LanguageModel,
    registered: RegisteredReward | None,
    settings: LoadSettings,
    done: Callable[[int, int], None] = lambda round, rounds: None,
) -> dict[str, Any]:
    """Let the library and a server write the same texts in turns.

    Args:
        lm: writes them. It keeps no prefixes, because the library would not find them either.
        registered: the reward that steers; None for none.
        settings: how many, how long, how often.
        done: called after each round with the number of rounds so far, and of all.

    Returns:
        The record, ready for JSON. `throughput` is the server's over the library's, in wall-clock time and in CPU time
        of the process that writes: the medians of the rounds. `first_token` and `per_token` are the clients' seconds.

    Raises:
        RuntimeError: a request failed, or the texts of the server are not the library's.
    """
    rewards = [registered] if registered else []
    beta = {each.name: settings.beta for each in rewards}
    steer = RewardShelf(rewards).steer(
        {name: SteerTerm.model_validate({"beta": value}) for name, value in beta.items()}
    )
    prompts = [f"{PROMPT} {seed}" for seed in range(settings.rows)]
    params = [SamplingParams(seed=seed, max_new_tokens=settings.tokens) for seed in range(settings.rows)]
    times: Times = {"library": [], "library_cpu": [], "server": [], "server_cpu": []}
    answers: list[tuple[Answer, int]] = []  # with the number of tokens
    with running(create_app(lm, "model", rewards, limits_of(settings))) as url:
        asked = Asked(url, PROMPT, settings.rows, settings.tokens, beta)
        for number in range(1 + settings.repeats):  # the first round warms up
            with _timed(times, "library"):
                written = lm.generate(prompts, steer, params)
            seen = Clients(asked).ask(lambda: _timed(times, "server"))
            if wrong := sum(one.text != other.text for one, other in zip(written, seen, strict=True)):
                raise RuntimeError(f"{wrong} of {settings.rows} texts of the server are not the library's")
            answers += zip(seen, (len(each.token_ids) for each in written), strict=True) if number else []
            done(number + 1, 1 + settings.repeats)
    return {
        "made_by": MADE_BY,
        "about": {**provenance(lm.engine, steer), "processor": processor_name(), "load_average": load_average()},
        "rows": settings.rows,
        "tokens": settings.tokens,
        "repeats": settings.repeats,
        "throughput": {"wall": _share(times, ""), "cpu": _share(times, "_cpu")},
        "first_token": _spread([answer.first for answer, _ in answers]),
        "per_token": _spread([(answer.whole - answer.first) / (count - 1) for answer, count in answers if count > 1]),
    }


def limits_of(settings: LoadSettings) -> ServerSettings:
    """The limits of a server that may get all requests of a round before it takes one."""
    waiting = max(settings.rows, ServerSettings.max_queue)
    return ServerSettings(max_rows=settings.rows, max_queue=waiting, max_tokens=10**6, prefix_cache=0)


@contextmanager
def _timed(times: Times, name: str) -> Iterator[None]:
    """Add the wall-clock and the CPU seconds of a block."""
    cpu, wall = time.process_time(), time.perf_counter()
    yield
    times[name].append(time.perf_counter() - wall)
    times[f"{name}_cpu"].append(time.process_time() - cpu)


def _share(times: Times, clock: str) -> dict[str, float]:
    """The server's throughput over the library's in the rounds behind the first."""
    pairs = zip(times[f"library{clock}"][1:], times[f"server{clock}"][1:], strict=True)
    shares = [library / server for library, server in pairs]
    return {"median": median(shares), "low": min(shares), "high": max(shares)}


def _spread(seconds: list[float]) -> dict[str, float]:
    return {"median": median(seconds), "p95": quantiles(seconds, n=20, method="inclusive")[-1]}
