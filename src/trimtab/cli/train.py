"""`trimtab train`: make rewards."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from trimtab.cli.settings import expands
from trimtab.training.recipe import DistilSettings, LabelSettings, PairSettings, Recipe
from trimtab.training.source import Source

if TYPE_CHECKING:
    from trimtab.frozen.lm import FrozenLM
    from trimtab.rewards.model import RewardModel
    from trimtab.training.data import Row, Table
    from trimtab.training.fit import Fit

Out = Annotated[Path, typer.Option(help="The folder for the reward: new, empty, or an older reward's.")]
Run = Annotated[
    Path | None, typer.Option(help="The folder for settings, metrics and checkpoints. Default: OUT.run, beside it.")
]
Base = Annotated[str, typer.Option(help="The language model: smollm2, a folder, a .gguf file or a Hub id.")]
SaveDtype = Annotated[
    Literal["bfloat16", "float16", "float32"], typer.Option(help="What to round the saved weights to.")
]
TextColumn = Annotated[str, typer.Option(help="The column of the text.")]

app = typer.Typer(
    no_args_is_help=True,
    help="Train rewards: from labels, from preferences, or from a trained reward.",
    epilog="A run that was stopped goes on where it was: give the same command again. On several GPUs: "
    "torchrun --nproc-per-node N -m trimtab train …",
)


@app.command()
@expands
def labels(
    source: Source,
    recipe: Annotated[Recipe, "Training"],
    settings: Annotated[LabelSettings, "Objective"],
    out: Out,
    run: Run = None,
    base: Base = "smollm2",
    attribute: Annotated[
        list[str] | None, typer.Option(help="What to call a label; repeat for several. Default: label.")
    ] = None,
    column: Annotated[list[str] | None, typer.Option(help="The label columns, if called otherwise.")] = None,
    text_column: TextColumn = "text",
    balance: Annotated[bool, typer.Option("--balance", help="As many texts with the first label high as low.")] = False,
    save_dtype: SaveDtype = "bfloat16",
) -> None:
    """Train a reward from texts with labels in [0, 1]: every prefix regresses its text's label.

    Example: trimtab train labels --data sst2.jsonl --attribute positive --column label --out rewards/sentiment
    """
    from trimtab.errors import InvalidSetting
    from trimtab.training.data import read_labelled, select_balanced, select_rows
    from trimtab.training.labels import train_from_labels

    attributes = attribute or ["label"]
    columns = column or attributes
    if len(columns) != len(attributes):
        raise InvalidSetting(f"got {len(columns)} columns for {len(attributes)} attributes, expected one for each")
    desk = Desk(out, run, source, recipe)
    table = desk.read(read_labelled(source.data, columns, text_column, source.split), source.data)
    held = source.held_out and read_labelled(source.held_out, columns, text_column, source.held_out_split)
    select = select_balanced if balance else select_rows
    rows, held_rows = desk.divide(select(table.rows, source.limit, recipe.seed), held or None)
    lm = desk.load(base)
    desk.show([row.text for row in rows], lm, {a: [row.labels[i] for row in rows] for i, a in enumerate(attributes)})
    desk.save(train_from_labels(lm, attributes, rows, held_rows, recipe, settings, desk.fit()), save_dtype)


@app.command()
@expands
def pairs(
    source: Source,
    recipe: Annotated[Recipe, "Training"],
    settings: Annotated[PairSettings, "Objective"],
    out: Out,
    run: Run = None,
    base: Base = "smollm2",
    attribute: Annotated[str, typer.Option(help="What to call the reward.")] = "preferred",
    chosen_column: Annotated[str, typer.Option(help="The column of the preferred text.")] = "chosen",
    rejected_column: Annotated[str, typer.Option(help="The column of the other.")] = "rejected",
    save_dtype: SaveDtype = "bfloat16",
) -> None:
    """Train a reward from pairs of texts: the chosen one's reward is to exceed the rejected one's (Bradley–Terry).

    Example: trimtab train pairs --data preferences.jsonl --attribute harmless --out rewards/harmless
    """
    from trimtab.training.data import read_pairs, select_rows
    from trimtab.training.pairs import train_from_pairs

    desk = Desk(out, run, source, recipe)
    table = desk.read(read_pairs(source.data, chosen_column, rejected_column, source.split), source.data)
    held = source.held_out and read_pairs(source.held_out, chosen_column, rejected_column, source.held_out_split)
    rows, held_rows = desk.divide(select_rows(table.rows, source.limit, recipe.seed), held or None)
    lm = desk.load(base)
    desk.show([text for row in rows for text in (row.chosen, row.rejected)], lm, {})
    desk.save(train_from_pairs(lm, attribute, rows, held_rows, recipe, settings, desk.fit()), save_dtype)


@app.command()
@expands
def distil(
    source: Source,
    recipe: Annotated[Recipe, "Training"],
    settings: Annotated[DistilSettings, "Objective"],
    teacher: Annotated[str, typer.Option(help="The reward to learn from: a bundled name, a folder or a Hub id.")],
    out: Out,
    run: Run = None,
    targets: Annotated[
        Path | None, typer.Option(help="Keeps the teacher's rewards, for other students too. Default: in --run.")
    ] = None,
    base: Base = "smollm2",
    column: Annotated[
        list[str] | None, typer.Option(help="Label columns, to measure against and for --balance. Default: none.")
    ] = None,
    text_column: TextColumn = "text",
    balance: Annotated[bool, typer.Option("--balance", help="As many texts with --column high as low.")] = False,
    save_dtype: SaveDtype = "bfloat16",
) -> None:
    """Train a reward from another reward: a Q-head that says in one call what a V-head says in k, or a smaller one.

    Example: trimtab train distil --teacher sentiment-rad --data texts.jsonl --out rewards/mine
    """
    from trimtab.errors import InvalidSetting
    from trimtab.rewards.shelf import load_reward
    from trimtab.training.data import read_labelled, select_balanced, select_rows
    from trimtab.training.distil import train_from_teacher

    desk = Desk(out, run, source, recipe)
    if balance and not column:
        raise InvalidSetting("got --balance, expected --column with it")
    columns = (column or []) if balance or not source.held_out else []
    table = desk.read(read_labelled(source.data, columns, text_column, source.split), source.data)
    held = source.held_out and read_labelled(source.held_out, column or [], text_column, source.held_out_split)
    select = select_balanced if balance else select_rows
    rows, held_rows = desk.divide(select(table.rows, source.limit, recipe.seed), held or None)
    lm = desk.load(base)
    model = load_reward(teacher, lm)
    if column and len(column) != len(model.attributes):
        raise InvalidSetting(f"got {len(column)} label columns, expected the teacher's {len(model.attributes)}")
    desk.show([row.text for row in rows], lm, {})
    desk.save(
        train_from_teacher(lm, model, rows, held_rows, recipe, settings, desk.fit(), targets or desk.run / "targets"),
        save_dtype,
    )


class Desk:
    """What the three commands do alike: check the folders, read, show, load, record, save."""

    def __init__(self, out: Path, run: Path | None, source: Source, recipe: Recipe):
        from rich.console import Console

        from trimtab.errors import InvalidSetting
        from trimtab.rewards.folder import check_target

        check_target(out)
        self.out, self.run = out, run or out.with_name(out.name + ".run")
        if self.run.resolve().is_relative_to(out.resolve()):
            raise InvalidSetting(f"got --run {str(self.run)!r}, expected a folder outside --out {str(out)!r}")
        self.source, self.recipe = source, recipe
        self.console: Console = Console(stderr=True, quiet=os.environ.get("RANK", "0") != "0")
        self.facts: dict[str, Any] = {}

    def read(self, table: "Table[Row]", name: str) -> "Table[Row]":
        """Say which rows of a table could not be used."""
        if table.faults:
            named = "; ".join(table.faults[:5]) + ("; …" if len(table.faults) > 5 else "")
            self.console.print(f"[yellow]{name}: {len(table.faults)} rows skipped[/yellow]: {named}", highlight=False)
            self.facts[f"skipped in {Path(name).name}"] = len(table.faults)
        return table

    def divide(self, rows: "Sequence[Row]", held: "Table[Row] | None") -> "tuple[Sequence[Row], Sequence[Row]]":
        """The rows to train on and those held out: another table's, or a twentieth."""
        from trimtab.errors import InvalidData

        if held is not None:
            return rows, self.read(held, str(self.source.held_out)).rows[: self.source.held_out_limit]
        if len(rows) < 2:
            raise InvalidData("got 1 row, expected at least 2: one of them is held out")
        share = max(1, len(rows) // 20)
        return rows[share:], rows[:share]

    def load(self, base: str) -> "FrozenLM":
        """The language model, in the arithmetic of training."""
        import torch

        from trimtab.frozen.sources import load_frozen

        return load_frozen(base, dtype=torch.bfloat16 if self.recipe.bf16 else torch.float32)

    def show(self, texts: "Sequence[str]", lm: "FrozenLM", labels: "dict[str, Sequence[float]]") -> None:
        """Lengths, class balance and a sample, before the work begins."""
        from trimtab.training.summary import summarize

        summary = summarize(texts, lm, self.recipe.max_tokens, labels)
        self.facts |= summary.facts
        self.console.print(summary.table)

    def fit(self) -> "Fit":
        """The run's folder; its progress; and what the card will say of data and command."""
        from trimtab.cli.progress import Bars
        from trimtab.training.fit import Fit
        from trimtab.training.run import RunFolder

        command = shlex.join(["trimtab", *(Path(a).name if Path(a).exists() else a for a in sys.argv[1:])])
        held = Path(self.source.held_out).name if self.source.held_out else "5 % of the data"
        provenance = {"data": Path(self.source.data).name, "held_out": held, "command": command, **self.facts}
        return Fit(RunFolder(self.run), Bars(self.console), self.out.name, provenance)

    def save(self, reward: "RewardModel", dtype: str) -> None:
        """Write the reward, from the first process alone, and print what it measured."""
        import torch

        from trimtab.training.compute import processes

        if not processes().is_main_process:
            return
        reward.save_pretrained(self.out, getattr(torch, dtype))
        self.console.print(f"saved {self.out}; settings, metrics and checkpoints are in {self.run}", highlight=False)
        for name, value in reward.card.quality.items():
            if isinstance(value, float | int):
                self.console.print(f"  {name} {value:.4f}" if isinstance(value, float) else f"  {name} {value}")
