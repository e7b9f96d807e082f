"""Measure the cost of steering: the time of a steered token over that of an unsteered one.

    python bench/overhead.py --out results/overhead.json

All rewards are freshly initialised: time does not depend on the weights. The lower bound is memory traffic. At batch 1
a forward reads every weight of its layers once. So ARM on m of M layers adds about m / M of the time that a token
spends in the model's body. RAD adds the same, with the arithmetic of k tokens instead of one. ARM on the model's own
state adds only the head. Each ratio is a median over paired runs, unsteered and steered in turn.
"""

import json
import statistics
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

import trimtab
from trimtab.rewards.network import build_network
from trimtab.rewards.reward_model import RewardModel
from trimtab.training.new_card import new_card
from trimtab.training.recipe import Recipe


def fresh_reward(lm: trimtab.LanguageModel, merged: bool = False, **recipe: Any) -> RewardModel:
    """Return an untrained reward of a recipe's shape."""
    card = new_card(lm.base, ["label"], Recipe(**recipe))
    reward = RewardModel(build_network(lm.base, card), card, lm.base)
    return reward.merged() if merged else reward


def seconds(lm: trimtab.LanguageModel, steer: trimtab.Steer | None, rows: int, tokens: int, top_k: int) -> float:
    """Return the time of `tokens` tokens in each of `rows` rows, the prompt's forward included."""
    start = time.perf_counter()
    lm.generate(["The new neighbours are"] * rows, steer, max_new_tokens=tokens, top_k=top_k, seed=0)
    return time.perf_counter() - start


def main(
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    model: str = "smollm2",
    tokens: int = 32,
    top_k: int = 20,
    repeats: int = 5,
) -> None:
    """Time steering against plain generation."""
    lm = trimtab.load(model)
    depth = lm.base.layers
    variants: dict[str, dict[str, Any]] = {"ARM, own state": {"trunk": "frozen", "head": "q"}}
    for layers in (6, 12, 20, depth):
        variants[f"ARM, {layers} layers"] = {"head": "q", "layers": layers, "lora_rank": 8}
        variants[f"RAD, {layers} layers"] = {"head": "v", "layers": layers, "lora_rank": 8}
    variants["ARM, 20 layers, merged"] = {"head": "q", "layers": 20, "lora_rank": 8, "merged": True}
    variants["RAD, 20 layers, merged"] = {"head": "v", "layers": 20, "lora_rank": 8, "merged": True}
    table = Table("reward", *(f"batch {rows}" for rows in (1, 8)))
    results = []
    for name, recipe in variants.items():
        steer = fresh_reward(lm, **recipe).toward(1.0)
        row: dict[str, Any] = {"reward": name, **recipe}
        for rows in (1, 8):
            seconds(lm, steer, rows, 4, top_k)
            pairs = [
                (seconds(lm, None, rows, tokens, top_k), seconds(lm, steer, rows, tokens, top_k))
                for _ in range(repeats)
            ]
            row[f"ratio_batch_{rows}"] = statistics.median(steered / plain for plain, steered in pairs)
            row[f"plain_ms_per_step_batch_{rows}"] = 1000 * statistics.median(p for p, _ in pairs) / tokens
        results.append(row)
        table.add_row(name, *(f"{row[f'ratio_batch_{rows}']:.2f}×" for rows in (1, 8)))
    about = {"model": model, "tokens": tokens, "top_k": top_k, "repeats": repeats, "threads": torch.get_num_threads()}
    out.parent.mkdir(parents=True, exist_ok=True)
    report = {**about, "dtype": str(lm.model.dtype), "device": str(lm.base.device), "rows": results}
    out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    Console().print(f"time of a token over unsteered, {model}, k = {top_k}", table)


if __name__ == "__main__":
    typer.run(main)
