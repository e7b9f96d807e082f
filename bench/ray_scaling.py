"""Measure how the time of a job falls with the number of Ray actors, and check that no row differs.

    python bench/ray_scaling.py --out results/ray_scaling.json
    python bench/ray_scaling.py --engine vllm --batch-size 256 --out results/ray_scaling-vllm.json

The prompts are in several files. The same job runs in this process, and then on a local Ray cluster with 1, 2, … actors
of one thread each. The time of the first batch has the start of Ray and the loading of the model in it; the rate after
it does not. On a machine with two cores, two actors share the memory bandwidth and the driver has no core of its own.
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from trimtab.benchmark.run import load_average
from trimtab.data.json_text import dump_json
from trimtab.data.outputs import check_output, write_whole
from trimtab.engines.engine_names import EngineName
from trimtab.engines.provenance import provenance
from trimtab.engines.sampling_params import SamplingParams
from trimtab.jobs import FileTarget, Job, RayActors, run_file, run_on_ray, write_prompts
from trimtab.loading import load
from trimtab.models.processor import processor_name
from trimtab.rewards.registry import load_steers

OPENINGS = ("The new neighbours are", "My first day at work was", "The food at the hotel was", "This phone is")
TOPICS = ("", " and", " because", " when I", " so very", " not", " like", " for my brother")
ENDS = ("", " that", " it", " again", " of all", " as if")
STARTS = [opening + topic + end for opening in OPENINGS for topic in TOPICS for end in ENDS]


def write_shards(folder: Path, prompts: int, shards: int) -> None:
    """Write numbered prompts into some files."""
    folder.mkdir()
    for shard in range(shards):
        numbers = range(shard, prompts, shards)
        rows = [json.dumps({"prompt": f"{number}. {STARTS[number % len(STARTS)]}"}) for number in numbers]
        (folder / f"part-{shard}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")


def timed(run: Callable[[Callable[[int, int], None]], object]) -> dict[str, float]:
    """Run a job; returns its seconds, those to its first batch, and the prompts per second after that."""
    start, seen = time.perf_counter(), list[tuple[float, int]]()
    run(lambda done, total: seen.append((time.perf_counter() - start, done)))
    (first, some), (last, every) = next(each for each in seen if each[1]), seen[-1]
    rate = (every - some) / (last - first) if every > some else 0.0
    return {"seconds": last, "seconds_to_first_batch": first, "prompts_per_second": rate}


def rows_of(folder: Path) -> dict[str, list[list[int]]]:
    """Return the tokens of every row, by file."""
    lines = {path.name: path.read_text(encoding="utf-8").splitlines() for path in sorted(folder.glob("*.jsonl"))}
    return {name: [json.loads(line)["token_ids"] for line in of_file] for name, of_file in lines.items()}


def run_here(source: Path, target: Path, job: Job, batch_size: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Run a job in this process, the model loaded before; returns its times and its provenance."""
    lm = load(job.model, dtype=job.dtype, engine=job.engine)
    steer = load_steers(job.steer, None, lm.base)

    def run(progress: Callable[[int, int], None]) -> None:
        done = 0
        for shard in sorted(source.iterdir()):
            rows = FileTarget(target / shard.name)
            before = done

            def count(now: int, total: int, before: int = before) -> None:
                progress(before + now, total)

            run_file(lm, shard, rows, lambda batch: write_prompts(lm, batch, steer, job), job, batch_size, count)
            done += len(shard.read_text(encoding="utf-8").splitlines())

    return timed(run), provenance(lm.engine, steer)


def run_there(source: Path, target: Path, job: Job, batch_size: int, actors: int) -> dict[str, float]:
    """Run a job on a local Ray cluster; returns its times."""
    given = RayActors(actors=actors)
    return timed(lambda progress: run_on_ray(source, target, job, "local", given, batch_size, progress))


def main(
    out: Annotated[Path, typer.Option(help="JSON file for the times.")],
    actors: Annotated[list[int], typer.Option(help="Numbers of actors. Repeat for several.")] = [1, 2],  # noqa: B006
    prompts: Annotated[int, typer.Option(help="Number of prompts.")] = 2000,
    shards: Annotated[int, typer.Option(help="Number of files.")] = 8,
    tokens: Annotated[int, typer.Option(help="New tokens of each prompt.")] = 20,
    batch_size: Annotated[int, typer.Option(help="Prompts in one batch.")] = 32,
    steer: Annotated[str, typer.Option(help="How to steer.")] = "sentiment=+20",
    model: Annotated[str, typer.Option(help="The language model.")] = "smollm2",
    engine: Annotated[EngineName, typer.Option(help="What runs the model.")] = "torch",
) -> None:
    check_output(out, "--out", replace=True)
    torch.set_num_threads(1)
    job = Job(model, steer=(steer,), engine=engine, sampling=SamplingParams(seed=0, max_new_tokens=tokens))
    loads, runs = [load_average()], list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_shards(place / "in", prompts, shards)
        times, about = run_here(place / "in", place / "here", job, batch_size)
        runs.append({"actors": 0, **times})
        print(runs[-1])
        expected = rows_of(place / "here")
        for count in actors:
            times = run_there(place / "in", place / f"ray-{count}", job, batch_size, count)
            found = rows_of(place / f"ray-{count}")
            differing = sum(a != b for name in expected for a, b in zip(found[name], expected[name], strict=True))
            runs.append({"actors": count, **times, "rows_that_differ": differing})
            print(runs[-1])
    loads.append(load_average())
    record = {"prompts": prompts, "tokens": tokens, "batch_size": batch_size, "runs": runs, "load_average": loads}
    write_whole(out, dump_json({**record, "processor": processor_name(), "provenance": about}, indent=2) + "\n")
    if any(run.get("rows_that_differ") for run in runs):
        raise SystemExit("some rows differ")


if __name__ == "__main__":
    typer.run(main)
