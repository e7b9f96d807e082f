"""Measure the mode in which a text does not depend on its batch: what it mends, and what it costs.

    python bench/batch_invariance.py --out results/batch_invariance.json

Each engine writes the same prompts alone and in batches. "differ" counts the prompts whose text in a batch is not the
text alone. The cost is the CPU time of a batch in the mode over that of the plain engine in bfloat16, which take turns:
the median of the rounds. CPU time, because other work on the machine does not change it much.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Annotated, Any, NamedTuple

import torch
import typer
from rich.console import Console
from rich.table import Table

import trimtab
from trimtab.data.json_text import dump_json
from trimtab.data.outputs import check_output, write_whole
from trimtab.engines.provenance import provenance
from trimtab.engines.torch.engine import TorchEngine
from trimtab.language_model import LanguageModel
from trimtab.models.loading import load_frozen_lm

STARTS = ["The new neighbours are", "My boss said that", "I never liked", "After the storm", "The film was", "Our dog"]
STARTS += ["In the morning,", "Nobody knew why"]
ENDS = ["", " very", " always, and I mean it when I say that,", " a bit of"]
PROMPTS = [start + end for start in STARTS for end in ENDS]
BATCHES = (1, 8, 32)


class Written(NamedTuple):
    """The tokens that follow the prompts, and the CPU seconds that they took."""

    tokens: list[list[int]]
    seconds: float


def write(lm: LanguageModel, steer: trimtab.Steer | None, rows: int, tokens: int) -> Written:
    """Continue the prompts in batches of some rows."""
    start, written = time.process_time(), []
    for first in range(0, len(PROMPTS), rows):
        batch = lm.generate(PROMPTS[first : first + rows], steer, max_new_tokens=tokens, seed=0)
        written += [each.token_ids for each in batch]
    return Written(written, time.process_time() - start)


def measure(
    models: Mapping[str, LanguageModel], steers: Mapping[str, trimtab.Steer | None], tokens: int, rounds: int
) -> dict[str, dict[str, Any]]:
    """What differs from the texts alone, and the median cost over the first engine. Engines take turns."""
    first, *_ = models
    found: dict[str, dict[str, Any]] = {name: {"differ": {}, "cpu_seconds": {}, "cost": {}} for name in models}
    alone: dict[str, list[list[int]]] = {}
    for lm, steer in ((models[name], steers[name]) for name in models):
        write(lm, steer, len(PROMPTS), 2)
    for rows in BATCHES:
        runs = [{name: write(lm, steers[name], rows, tokens) for name, lm in models.items()} for _ in range(rounds)]
        for name, of_engine in found.items():
            texts = runs[0][name].tokens
            of_engine["differ"][rows] = sum(map(list.__ne__, texts, alone.setdefault(name, texts)))
            of_engine["cpu_seconds"][rows] = [round(run[name].seconds, 2) for run in runs]
            of_engine["cost"][rows] = round(median(run[name].seconds / run[first].seconds for run in runs), 2)
    return found


def main(
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    model: str = "smollm2",
    reward: str = "sentiment-lora",
    beta: float = 20.0,
    tokens: int = 24,
    rounds: Annotated[int, typer.Option(help="Rounds in which the engines take turns.")] = 3,
    float32: Annotated[bool, typer.Option(help="Also measure the plain engine in float32.")] = True,
) -> None:
    """Write the same prompts alone and in batches, with and without the mode."""
    target = check_output(out, "--out", replace=True)
    base = load_frozen_lm(model, dtype=torch.bfloat16)
    engines = {"bfloat16": TorchEngine(base), "bfloat16, batch-invariant": TorchEngine(base, batch_invariant=True)}
    if float32:
        engines["float32"] = TorchEngine(load_frozen_lm(model, dtype=torch.float32))
    models = {name: LanguageModel(engine) for name, engine in engines.items()}
    table = Table("engine", "steer", *(f"differ, batch {rows}" for rows in BATCHES), *(f"cost, {b}" for b in BATCHES))
    measured: list[dict[str, Any]] = []
    for kind in ("none", f"{reward}={beta:+g}"):
        steers = {
            name: None if kind == "none" else trimtab.reward(reward, lm).toward(beta) for name, lm in models.items()
        }
        for name, found in measure(models, steers, tokens, rounds).items():
            measured.append({"engine": name, "steer": kind, **found})
            differ = [f"{count} of {len(PROMPTS)}" for count in found["differ"].values()]
            table.add_row(name, kind, *differ, *(f"{cost:.2f}×" for cost in found["cost"].values()))
    about = provenance(engines["bfloat16"], tokens=tokens, prompts=PROMPTS, threads=torch.get_num_threads())
    write_whole(target, dump_json({**about, "rows": measured}, indent=2) + "\n")
    Console(width=160).print(table)


if __name__ == "__main__":
    typer.run(main)
