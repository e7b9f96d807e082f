"""Keep a server busy with clients that come and leave: memory stays flat, no row stays, no steer reaches another row.

The clients are a process of their own (serve_clients.py). Afterwards the library writes the same texts again: a text
that differs would show a steer, or anything else, of another row. Rounding may break a tie between two tokens, so the
script also prints how far ahead the library's token was where a text first differs.

    python bench/serve_load.py --reward toxicity --reward sentiment --out results/serve_load-smollm2.json
    PYTHONPATH=tests python bench/serve_load.py --tiny --prefix-cache 0.001 --out results/serve_load-tiny.json
"""

import ctypes
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

import trimtab
from trimtab.benchmark.run import load_average
from trimtab.engines.base import Request
from trimtab.engines.provenance import provenance
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.sampling import gumbel_noise, row_keys
from trimtab.generation import Generation
from trimtab.language_model import LanguageModel
from trimtab.models.processor import processor_name
from trimtab.server.app import create_app
from trimtab.server.listening import running
from trimtab.server.loading import load_registered
from trimtab.server.public_names import parse_places
from trimtab.server.reward_shelf import RegisteredReward, RewardShelf
from trimtab.server.schemas import SteerTerm
from trimtab.server.server_settings import ServerSettings
from trimtab.steering.steer import Steer

CLIENTS = Path(__file__).with_name("serve_clients.py")
OPENINGS = ("The new neighbours are", "My first day at work was", "The food at the hotel was", "This phone is")
TOPICS = ("", " and", " because", " when I", " so very", " not", " like", " for my brother")
PROMPTS = [opening + topic for opening in OPENINGS for topic in TOPICS]
TINY_PROMPTS = [f"w{i} w{i + 7} w{2 * i}" for i in range(25)]
PAGE = os.sysconf("SC_PAGE_SIZE")
SAMPLES_PER_SECOND = 4
BATCH = 64  # texts that the library writes together
PATIENCE = 10.0  # seconds within which the last rows must be gone
WARM_UP = 0.15  # share of the time for a first load, after which memory is compared
NEAR_TIE = 1e-3  # a lead that rounding may turn, in float32
FLAT = 1.05  # memory after the load over memory before it


def resident() -> int:
    """Bytes of this process's memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def in_use() -> float:
    """Megabytes of this process's memory without the freed blocks that the C library keeps for later."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return round(resident() / 1e6, 1)


@contextmanager
def memory(found: list[int]) -> Iterator[None]:
    """Note the memory of this process, again and again."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(1 / SAMPLES_PER_SECOND):
            found.append(resident())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield
    ended.set()
    thread.join()


def ask(url: str, prompts: Sequence[str], rewards: Sequence[str], clients: int, seconds: float, tokens: int) -> Any:
    """Run the clients; returns what they saw."""
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder, "prompts.json"), Path(folder, "seen.json")
        given.write_text(json.dumps(list(prompts)), encoding="utf-8")
        named = [word for name in rewards for word in ("--reward", name)]
        counts = ["--clients", str(clients), "--seconds", str(seconds), "--tokens", str(tokens)]
        command = [sys.executable, str(CLIENTS), url, "--prompts", str(given), "--out", str(out), *named, *counts]
        subprocess.run(command, check=True)
        return json.loads(out.read_text(encoding="utf-8"))


def rows_left(scheduler: Any) -> int:
    """Rows that are written and requests that wait, once the clients are gone."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and scheduler.rows + scheduler.queued:
        time.sleep(0.01)
    return scheduler.rows + scheduler.queued


def steer_of(shelf: RewardShelf, betas: dict[str, float]) -> Steer | None:
    """A request's steer."""
    return shelf.steer({name: SteerTerm.model_validate({"beta": beta}) for name, beta in betas.items()})


def wrong_texts(lm: LanguageModel, shelf: RewardShelf, texts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The requests whose texts are not those that the library writes, each with the library's lead."""
    wrong = []
    for start in range(0, len(texts), BATCH):
        group = texts[start : start + BATCH]
        params = [
            SamplingParams(seed=each["seed"], max_new_tokens=each["max_tokens"], temperature=float(each["temperature"]))
            for each in group
        ]
        steers = [steer_of(shelf, each["steer"]) for each in group]
        written = lm.generate([each["prompt"] for each in group], steers, params)
        for one, other in zip(written, group, strict=True):
            if one.text != other["text"]:
                request = {name: value for name, value in other.items() if name != "text"}
                wrong.append({**request, "lead": lead(lm, one, other)})
    return wrong


def lead(lm: LanguageModel, written: Generation, served: dict[str, Any]) -> float:
    """By how much the library's token was ahead of the second where its text leaves the served one.

    In log-probability over temperature, and noise. 1e9 where the served text is the beginning of the library's.
    """
    text = ""
    for place, token in enumerate(written.trace):
        text += token.text
        if not served["text"].startswith(text):
            scores = token.choice.steered_logprobs.double()[None]
            if served["temperature"]:
                params = SamplingParams(seed=served["seed"])
                prefix = lm.engine.codec.encode_prompt(served["prompt"])
                keys = row_keys([Request(prefix, params)], scores.device)
                noise = gumbel_noise(keys, keys.new_tensor([place]), token.choice.candidates[None])
                scores = scores / served["temperature"] + noise
            first, second = scores.topk(2).values[0].tolist()
            return first - second
    return 1e9


def fifths(samples: Sequence[int]) -> list[float]:
    """The median memory of each fifth of the time, in megabytes."""
    size = max(1, len(samples) // 5)
    return [round(median(samples[i * size : (i + 1) * size]) / 1e6, 1) for i in range(5)]


def measure(
    lm: LanguageModel,
    rewards: Sequence[RegisteredReward],
    prompts: Sequence[str],
    clients: int = 100,
    seconds: float = 120.0,
    tokens: int = 24,
    max_rows: int = 32,
    checked: int = 2000,
    prefix_cache: float = 0.02,
) -> dict[str, Any]:
    """Load a server, and check it. A shorter load before it fills caches.

    Args:
        lm: writes.
        rewards: what requests steer by.
        prompts: which they draw from.
        clients: how many ask at once.
        seconds: how long.
        tokens: the most new tokens of a text.
        max_rows: that are written together.
        checked: the most texts that the library writes again.
        prefix_cache: gigabytes that the server keeps of what it encoded; the shorter load shall fill them.
    """
    settings = ServerSettings(max_rows=max_rows, max_queue=2 * clients, prefix_cache=prefix_cache)
    app = create_app(lm, "model", rewards, settings)
    samples: list[int] = []
    names = [each.name for each in rewards]
    with running(app) as url:
        ask(url, prompts, names, clients, WARM_UP * seconds, tokens)
        rows_left(app.state.trimtab.scheduler)
        before = in_use()
        with memory(samples):
            seen = ask(url, prompts, names, clients, seconds, tokens)
        left, after = rows_left(app.state.trimtab.scheduler), in_use()
    texts = seen["texts"]
    compared = random.Random(0).sample(texts, min(checked, len(texts)))
    different = wrong_texts(lm, RewardShelf(rewards), compared)
    ties = sum(each["lead"] < NEAR_TIE for each in different)
    return {
        "about": {**provenance(lm.engine, None), "processor": processor_name(), "load_average": load_average()},
        "rewards": names,
        "clients": clients,
        "seconds": seconds,
        "tokens": tokens,
        "max_rows": max_rows,
        "prefix_cache": prefix_cache,
        "statuses": seen["statuses"],
        "whole_texts": len(texts),
        "clients_that_left": seen["left"],
        "rows_left": left,
        "compared_texts": len(compared),
        "wrong_texts": len(different) - ties,
        "broken_ties": ties,
        "different": different,
        "megabytes": {"before": before, "after": after, "fifths": fifths(samples)},
    }


def is_flat(record: dict[str, Any]) -> bool:
    """Whether the memory after the load is about that before it."""
    return bool(record["megabytes"]["after"] <= FLAT * record["megabytes"]["before"])


def show(record: dict[str, Any]) -> None:
    """Print the figures."""
    memory = record["megabytes"]
    rows = [
        ("clients, seconds", f"{record['clients']}, {record['seconds']:g}"),
        ("answers by status", ", ".join(f"{status}: {count}" for status, count in record["statuses"].items())),
        ("whole texts", record["whole_texts"]),
        ("clients that left", record["clients_that_left"]),
        ("rows and requests that stayed", record["rows_left"]),
        ("texts that are not the library's", f"{record['wrong_texts']} of {record['compared_texts']}"),
        ("others that left it at a near tie", record["broken_ties"]),
        ("megabytes in use before and after", f"{memory['before']:.0f} {memory['after']:.0f}"),
        (f"after at most {FLAT}× before", "yes" if is_flat(record) else "no"),
        ("megabytes in each fifth of the time", " ".join(f"{each:.0f}" for each in memory["fifths"])),
    ]
    for name, value in rows:
        typer.echo(f"{name:<36} {value}")


def tiny() -> tuple[LanguageModel, list[RegisteredReward]]:
    """A tiny random model and rewards of three kinds, from the tests."""
    from tiny import tiny_ladder, tiny_lm, tiny_reward
    from trimtab.engines.torch.engine import TorchEngine

    lm = LanguageModel(TorchEngine(tiny_lm("llama")))
    lora, rad = tiny_reward(lm.base, "q", seed=1), tiny_reward(lm.base, "v", seed=2)
    made = {"mood": tiny_ladder(lm.base), "mood-lora": lora, "mood-rad": rad}
    return lm, [RegisteredReward.of(name, reward) for name, reward in made.items()]


def main(
    model: Annotated[str, typer.Option(help="The model to serve.")] = "smollm2",
    reward: Annotated[list[str] | None, typer.Option(help="A reward, as in trimtab serve. Repeat for several.")] = None,
    tiny_model: Annotated[bool, typer.Option("--tiny", help="A tiny random model; PYTHONPATH=tests.")] = False,
    clients: Annotated[int, typer.Option(help="Clients at once.")] = 100,
    seconds: Annotated[float, typer.Option(help="How long they ask.")] = 120.0,
    tokens: Annotated[int, typer.Option(help="Most new tokens of a text.")] = 24,
    checked: Annotated[int, typer.Option(help="Most texts that the library writes again.")] = 2000,
    prefix_cache: Annotated[float, typer.Option(help="Gigabytes of prefix cache; few, so that it fills.")] = 0.02,
    out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
) -> None:
    """Load a server, print a table, and end with status 1 if it is wrong."""
    if tiny_model:
        lm, rewards = tiny()
    else:
        lm = trimtab.load(model)
        rewards = load_registered(parse_places(reward or []), lm.base)
    prompts = TINY_PROMPTS if tiny_model else PROMPTS
    record = measure(lm, rewards, prompts, clients, seconds, tokens, checked=checked, prefix_cache=prefix_cache)
    show(record)
    if out is not None:
        out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    raise typer.Exit(int(record["rows_left"] > 0 or record["wrong_texts"] > 0 or not is_flat(record)))


if __name__ == "__main__":
    typer.run(main)
