"""Measure the mode in which a text does not depend on its batch: what it mends, and what it costs.

    python bench/batch_invariance.py --out results/batch_invariance.json

Each engine writes the same prompts alone and in batches. "differ" counts the prompts whose text in a batch is not the
text alone. The cost is the CPU time of a batch in the mode over that of the plain engine in bfloat16; CPU time, because
other work on the machine does not change it much.
"""

import time
from pathlib import Path
from typing import Annotated, Any

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


def write(
    lm: LanguageModel, steer: trimtab.Steer | None, rows: int, tokens: int
) -> tuple[list[list[int]], float, float]:
    """Return the tokens that follow the first prompts in batches of some rows, with the CPU and wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    written = []
    for start in range(0, len(PROMPTS), rows):
        batch = lm.generate(PROMPTS[start : start + rows], steer, max_new_tokens=tokens, seed=0)
        written += [each.token_ids for each in batch]
    return written, time.process_time() - cpu, time.perf_counter() - wall


def measure(lm: LanguageModel, steer: trimtab.Steer | None, tokens: int) -> dict[str, Any]:
    """Return the seconds of each batch size, and how many texts differ from those written alone."""
    write(lm, steer, len(PROMPTS), 2)
    found = {rows: write(lm, steer, rows, tokens) for rows in BATCHES}
    alone = found[BATCHES[0]][0]
    return {
        "differ": {rows: sum(map(list.__ne__, texts, alone)) for rows, (texts, _, _) in found.items()},
        "cpu_seconds": {rows: round(cpu, 2) for rows, (_, cpu, _) in found.items()},
        "wall_seconds": {rows: round(wall, 2) for rows, (_, _, wall) in found.items()},
    }


def main(
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    model: str = "smollm2",
    reward: str = "sentiment-lora",
    beta: float = 20.0,
    tokens: int = 24,
    float32: Annotated[bool, typer.Option(help="Also measure the plain engine in float32.")] = True,
) -> None:
    """Write the same prompts alone and in batches, with and without the mode."""
    target = check_output(out, "--out", replace=True)
    base = load_frozen_lm(model, dtype=torch.bfloat16)
    engines = {"bfloat16": TorchEngine(base), "bfloat16, batch-invariant": TorchEngine(base, batch_invariant=True)}
    if float32:
        engines["float32"] = TorchEngine(load_frozen_lm(model, dtype=torch.float32))
    table = Table("engine", "steer", *(f"differ, batch {rows}" for rows in BATCHES), *(f"cost, {b}" for b in BATCHES))
    rows: list[dict[str, Any]] = []
    plain: dict[str, dict[int, float]] = {}
    for name, engine in engines.items():
        lm = LanguageModel(engine)
        for steer in (None, trimtab.reward(reward, lm).toward(beta)):
            kind = "none" if steer is None else str(steer)
            found = measure(lm, steer, tokens)
            seconds = plain.setdefault(kind, found["cpu_seconds"])
            costs = {batch: round(found["cpu_seconds"][batch] / seconds[batch], 2) for batch in BATCHES}
            rows.append({"engine": name, "steer": kind, **found, "cost": costs})
            differ = [f"{found['differ'][batch]} of {len(PROMPTS)}" for batch in BATCHES]
            table.add_row(name, kind, *differ, *(f"{cost:.2f}×" for cost in costs.values()))
            Console().print(rows[-1])
    about = provenance(engines["bfloat16"], tokens=tokens, prompts=PROMPTS, threads=torch.get_num_threads())
    write_whole(target, dump_json({**about, "rows": rows}, indent=2) + "\n")
    Console(width=160).print(table)


if __name__ == "__main__":
    typer.run(main)
