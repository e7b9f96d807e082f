"""`trimtab train`: make rewards."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trimtab.training.recipe import LabelRecipe

SAVE_DTYPES = ("bfloat16", "float16", "float32")

app = typer.Typer(no_args_is_help=True, help="Train rewards.")


@app.callback()
def group() -> None:
    """Train rewards."""


@app.command()
def labels(
    data: Annotated[
        Path, typer.Option(help="JSON lines (.gz allowed) with a text and a label in [0, 1] per attribute.")
    ],
    out: Annotated[Path, typer.Option(help="The folder for the reward: new, empty, or an older reward's.")],
    held_out: Annotated[
        Path | None, typer.Option(help="The same, for measuring; default: 5 % of the data, kept from training.")
    ] = None,
    base: Annotated[
        str, typer.Option(help="The language model: smollm2, a folder, a .gguf file or a Hub id.")
    ] = "smollm2",
    attribute: Annotated[
        list[str] | None, typer.Option(help="What to call a label; repeat for several. Default: label.")
    ] = None,
    column: Annotated[list[str] | None, typer.Option(help="The label columns, if called otherwise.")] = None,
    text_column: Annotated[str, typer.Option(help="The column of the text.")] = "text",
    limit: Annotated[int | None, typer.Option(help="Use this many texts, drawn at random.")] = None,
    balance: Annotated[bool, typer.Option(help="Use as many texts with the first label high as low.")] = False,
    head: Annotated[str, typer.Option(help="q (ARM, one call for all next tokens) or v (RAD).")] = LabelRecipe.head,
    layers: Annotated[int | None, typer.Option(help="How many of the base's layers to use; default: all.")] = None,
    rank: Annotated[
        int, typer.Option(help="The rank of a Q-head; the hidden size for the paper's full W.")
    ] = LabelRecipe.rank,
    trunk: Annotated[str, typer.Option(help="frozen, lora or full.")] = LabelRecipe.trunk,
    lora_rank: Annotated[int, typer.Option(help="The rank of the adapters.")] = LabelRecipe.lora_rank,
    epochs: Annotated[float, typer.Option(help="Passes over the data.")] = LabelRecipe.epochs,
    batch_size: Annotated[int, typer.Option(help="Texts a step.")] = LabelRecipe.batch_size,
    learning_rate: Annotated[float | None, typer.Option(help="Default: by trunk.")] = None,
    warmup_steps: Annotated[int, typer.Option(help="Steps of rising learning rate.")] = LabelRecipe.warmup_steps,
    regulariser: Annotated[
        float, typer.Option(help="Weight of the zero-delta term (Q-head).")
    ] = LabelRecipe.regulariser,
    max_tokens: Annotated[int, typer.Option(help="Longer texts lose their end.")] = LabelRecipe.max_tokens,
    bf16: Annotated[bool, typer.Option(help="Compute in bfloat16.")] = LabelRecipe.bf16,
    save_dtype: Annotated[str, typer.Option(help="What to round the saved weights to.")] = "bfloat16",
    seed: Annotated[int, typer.Option(help="For weights, order and drawn tokens.")] = LabelRecipe.seed,
) -> None:
    """Train a reward from labelled texts: weighted squared error, and for a Q-head the zero-delta regulariser.

    Example: trimtab train labels --data sst2.jsonl --attribute positive --column label --out rewards/sentiment
    """
    import torch

    from trimtab.errors import InvalidData, InvalidSetting
    from trimtab.frozen.sources import load_frozen
    from trimtab.rewards.folder import check_target
    from trimtab.training.data import read_labelled, select_rows
    from trimtab.training.labels import train_from_labels

    console = Console(stderr=True)
    attributes = attribute or ["label"]
    if column and len(column) != len(attributes):
        raise InvalidSetting(f"got {len(column)} columns for {len(attributes)} attributes, expected one for each")
    if save_dtype not in SAVE_DTYPES:
        raise InvalidSetting(f"got --save-dtype {save_dtype!r}, expected one of: {', '.join(SAVE_DTYPES)}")
    check_target(out)
    recipe = LabelRecipe(
        head=head,  # type: ignore[arg-type]
        layers=layers,
        rank=rank,
        trunk=trunk,  # type: ignore[arg-type]
        lora_rank=lora_rank,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        warmup_steps=warmup_steps,
        regulariser=regulariser,
        max_tokens=max_tokens,
        bf16=bf16,
        seed=seed,
    )
    read = read_labelled(data, column or attributes, text_column)
    report_faults(console, data, read.faults)
    rows = select_rows(read.rows, limit, balance, seed)
    if held_out is not None:
        kept = read_labelled(held_out, column or attributes, text_column)
        report_faults(console, held_out, kept.faults)
        measured = kept.rows
    else:
        if len(rows) < 2:
            raise InvalidData("got 1 text, expected at least 2: one of them is held out")
        share = max(1, len(rows) // 20)
        rows, measured = rows[share:], rows[:share]
    high = sum(row.labels[0] >= 0.5 for row in rows) / len(rows)
    console.print(f"{len(rows)} texts to train on ({high:.0%} high in {attributes[0]}), {len(measured)} held out")
    lm = load_frozen(base, dtype=torch.bfloat16 if bf16 else torch.float32)
    command = shlex.join(["trimtab", *(Path(a).name if Path(a).exists() else a for a in sys.argv[1:])])
    provenance = {"data": data.name, "held_out": held_out.name if held_out else "5 % of the data", "command": command}
    reward = train_from_labels(lm, attributes, rows, measured, recipe, out.name, provenance)
    reward.save_pretrained(out, getattr(torch, save_dtype))
    console.print(f"saved {out}")
    for name, value in reward.card.quality.items():
        console.print(f"  {name} {value:.4f}" if isinstance(value, float) else f"  {name} {value}")


def report_faults(console: Console, path: Path, faults: list[str], most: int = 5) -> None:
    """Say how many rows of a file could not be used, and which the first were."""
    if faults:
        console.print(f"[yellow]{path}: {len(faults)} rows skipped[/yellow]: " + "; ".join(faults[:most]))
