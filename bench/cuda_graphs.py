"""Time one step of a language model on a GPU, launched kernel by kernel and replayed as a CUDA graph.

    python bench/cuda_graphs.py --shapes llama-7b --out results/cuda-graphs-llama-7b.json

The weights are random. A step feeds one token of every row, with or without a ladder beside the model, or checks a
draft of four tokens. The least time is that of reading the weights once, at the bandwidth of a copy on the same GPU.
"""

import os
import time
from pathlib import Path
from statistics import median
from typing import Annotated, NamedTuple

import torch
import typer
from rich.console import Console
from rich.table import Table

from trimtab.benchmark.fresh_rewards import FreshRewards
from trimtab.benchmark.rows import LADDER, RewardShape
from trimtab.benchmark.subject import Subject, SubjectSpec, load_subject, random_prompts
from trimtab.data.json_text import dump_json
from trimtab.data.outputs import check_output, write_whole
from trimtab.models.kv_cache import KVCache
from trimtab.models.recordings import CALLS_BEFORE, SWITCH
from trimtab.models.side_network import Reader
from trimtab.versions import versions

STEPS = 20  # timed one by one


class Timed(NamedTuple):
    """The milliseconds of one step.

    Attributes:
        step: the median step, by the clock of the device.
        launch: what Python took of it.
        record: the first recorded call more than a later one; None without a graph.
    """

    step: float
    launch: float
    record: float | None


def bandwidth(device: torch.device) -> float:
    """The bytes per second that a copy reads and writes."""
    source = torch.randn(1 << 30, device=device)
    target = torch.empty_like(source)
    times = [timed(lambda: target.copy_(source))[0] for _ in range(5)]
    return 2 * source.nbytes / (min(times) / 1000)


def timed(work) -> tuple[float, float]:  # type: ignore[no-untyped-def]
    """The milliseconds of some work on the device, and of Python until it was launched."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    begun = time.perf_counter()
    start.record()
    work()
    end.record()
    launched = time.perf_counter() - begun
    torch.cuda.synchronize()
    return start.elapsed_time(end), 1000 * launched


def time_steps(subject: Subject, readers: list[Reader], rows: int, prompt: int, new: int, graph: bool) -> Timed:
    """Time the steps of one batch."""
    os.environ[SWITCH] = "1" if graph else "0"
    cache, batch = KVCache(subject.lm.model, readers), subject.lm.batch(random_prompts(subject.lm, rows, prompt, 0))
    cache.feed(batch.ids, batch.mask)
    ids = torch.ones(rows, new, dtype=torch.long, device=subject.lm.device)

    def step() -> None:
        cache.feed(ids, None, new)
        if new > 1:
            cache.retract([new - 1] * rows)

    for _ in range(CALLS_BEFORE):
        step()
    first = timed(step)[0]
    runs = [timed(step) for _ in range(STEPS)]
    of_step, of_python = (median(run[place] for run in runs) for place in (0, 1))
    return Timed(of_step, of_python, first - of_step if graph else None)


@torch.inference_mode()
def main(
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    shapes: Annotated[str, typer.Option(help="gpt2-large, llama-7b or tiny.")] = "llama-7b",
    prompt_tokens: int = 128,
) -> None:
    """Time the steps of a language model of known shapes with random weights."""
    target, console = check_output(out, "--out", replace=True), Console(width=120)
    with torch.inference_mode(False):
        subject = load_subject(SubjectSpec("", shapes, "bfloat16", "cuda"))
        ladder = FreshRewards(subject).model(RewardShape(LADDER)).reads(subject.lm.model)
    assert ladder is not None
    least = 1000 * subject.weights_read * subject.lm.model.dtype.itemsize / bandwidth(subject.lm.device)
    table = Table("step", "rows", "launched, ms", "graph, ms", "speed-up", "recording, ms", "Python, ms")
    table.title = f"{shapes}; reading the weights takes {least:.2f} ms"
    kinds: dict[str, tuple[list[Reader], int]] = {"token": ([], 1), "token, ladder": ([ladder], 1), "5 tokens": ([], 5)}
    found = []
    for name, (readers, new) in kinds.items():
        for rows in (1, 8, 32):
            launched, graph = (time_steps(subject, readers, rows, prompt_tokens, new, each) for each in (False, True))
            found.append({"step": name, "rows": rows, "launched": launched._asdict(), "graph": graph._asdict()})
            figures = (launched.step, graph.step, launched.step / graph.step, graph.record or 0, graph.launch)
            table.add_row(name, str(rows), *(f"{figure:.2f}" for figure in figures))
    console.print(table)
    about = {"shapes": shapes, "device": torch.cuda.get_device_name(), "prompt_tokens": prompt_tokens, **versions()}
    write_whole(target, dump_json({**about, "least_ms": least, "steps": found}, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
