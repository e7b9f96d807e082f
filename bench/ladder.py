"""Search the shape of a ladder: accuracy on held-out texts against the cost of a token.

    python bench/ladder.py --data sst2_train.jsonl.gz --held-out sst2_dev.jsonl.gz --out results/ladder.json

Each shape is trained on the same labelled texts by the same recipe. The cost is the CPU time of a steered token over a
plain one, the median of runs in turn; CPU time, because other work on the machine does not change it much. Runs are
kept in a folder, so an interrupted search goes on where it was.
"""

import statistics
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
from trimtab.data.tables import LabelledText, read_labelled, select_balanced
from trimtab.engines.provenance import provenance
from trimtab.rewards.reward_model import RewardModel
from trimtab.training.fit import RunOptions
from trimtab.training.labels import train_from_labels
from trimtab.training.recipe import Recipe
from trimtab.training.run_folder import RunFolder

Texts = tuple[list[LabelledText], list[LabelledText]]  # to train on, and to measure on
Settings = dict[str, Any]  # of the recipe, for all shapes

PROMPT = "The new neighbours are"
SHAPES: dict[str, dict[str, Any]] = {
    "5 × 192": {},
    "3 × 192": {"ladder_layers": 3},
    "10 × 192": {"ladder_layers": 10},
    "5 × 96": {"ladder_width": 96},
    "5 × 384": {"ladder_width": 384, "ladder_heads": 6},
    "4 × 192, up to layer 24": {"ladder_layers": 4, "layers": 24},
    "3 × 192, up to layer 18": {"ladder_layers": 3, "layers": 18},
    "own state": {"trunk": "frozen"},
}


def cost(lm: trimtab.LanguageModel, reward: RewardModel, rows: int, tokens: int, rounds: int) -> float:
    """Return the CPU time of steered texts over that of plain ones."""

    def seconds(steer: trimtab.Steer | None) -> float:
        start = time.process_time()
        lm.generate([PROMPT] * rows, steer, max_new_tokens=tokens, seed=0)
        return time.process_time() - start

    steer = reward.toward(20)
    seconds(steer)
    return statistics.median(seconds(steer) / seconds(None) for _ in range(rounds))


def train(lm: trimtab.LanguageModel, shape: dict[str, Any], texts: Texts, settings: Settings, run: Path) -> RewardModel:
    """Return the reward of one shape."""
    ladder = {} if "trunk" in shape else {"trunk": "ladder", "keep_states": True}
    recipe, options = Recipe(**{**settings, **ladder, **shape}), RunOptions(RunFolder(run))
    return train_from_labels(lm.base, ["label"], *texts, recipe, options=options)


def measure(lm: trimtab.LanguageModel, reward: RewardModel, tokens: int) -> dict[str, Any]:
    """Return the size, the quality and the cost of a reward."""
    own = [part for part in (reward.network.ladder, reward.network.head) if part is not None]
    return {
        "parameters": sum(weight.numel() for part in own for weight in part.parameters()),
        "accuracy": reward.card.quality["accuracy:label"],
        "auc": reward.card.quality["auc:label"],
        **{f"cost at batch {rows}": round(cost(lm, reward, rows, tokens, 3), 3) for rows in (1, 8)},
    }


def main(
    data: Annotated[str, typer.Option(help="A table of texts with labels.")],
    held_out: Annotated[str, typer.Option(help="A table of texts to measure on.")],
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    runs: Annotated[Path, typer.Option(help="The folder of the runs.")] = Path("ladder.runs"),
    model: str = "smollm2",
    limit: int = 20_000,
    epochs: float = 2,
    tokens: int = 24,
    max_tokens: int = 64,
) -> None:
    """Print a table of shapes."""
    target = check_output(out, "--out", inputs=(Path(data), Path(held_out)), replace=True)
    lm = trimtab.load(model, dtype=torch.bfloat16)
    texts = (
        select_balanced(read_labelled(data, ["label"]).rows, limit, 0),
        list(read_labelled(held_out, ["label"]).rows),
    )
    settings: Settings = {"epochs": epochs, "max_tokens": max_tokens, "batch_size": 64}
    table = Table("ladder", "parameters", "accuracy", "AUC", "batch 1", "batch 8")
    rows = []
    for name, shape in SHAPES.items():
        reward = train(lm, shape, texts, settings, runs / name.replace(" ", "").replace(",", "-"))
        row = measure(lm, reward, tokens)
        rows.append({"ladder": name, **shape, **row})
        costs = (f"{row[f'cost at batch {batch}']:.2f}×" for batch in (1, 8))
        table.add_row(name, f"{row['parameters'] / 1e6:.2f} M", f"{row['accuracy']:.3f}", f"{row['auc']:.3f}", *costs)
    about: dict[str, Any] = {
        "data": Path(data).name,
        "held_out": Path(held_out).name,
        "texts": len(texts[0]),
        **settings,
    }
    record = provenance(lm.engine, threads=torch.get_num_threads(), **about, rows=rows)
    write_whole(target, dump_json(record, indent=2) + "\n")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
