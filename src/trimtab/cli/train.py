"""`trimtab train`: train rewards from labels, from preferences, or from another reward."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from trimtab.cli.dataclass_options import expands
from trimtab.cli.options import RewardFolder, TextColumn
from trimtab.cli.train_command import TrainCommand
from trimtab.training.recipe import DistilSettings, LabelSettings, PairSettings, Recipe, Source

Run = Annotated[
    Path | None, typer.Option(help="Folder for settings, metrics and checkpoints. Default: OUT.run, beside --out.")
]
Base = Annotated[
    str, typer.Option(help="The language model that the reward reads: smollm2, a folder, a .gguf file or a Hub id.")
]
SaveDtype = Annotated[
    Literal["bfloat16", "float16", "float32"], typer.Option(help="Number format of the saved weights.")
]

app = typer.Typer(
    no_args_is_help=True,
    help="Train rewards from labels, from preferences, or from another reward.",
    epilog="Interrupted runs resume when the same command is given again.\n\n"
    "On several GPUs: torchrun --nproc-per-node N -m trimtab train …",
)


@app.command()
@expands
def labels(
    source: Source,
    recipe: Annotated[Recipe, "Training"],
    settings: Annotated[LabelSettings, "Objective"],
    out: RewardFolder,
    run: Run = None,
    base: Base = "smollm2",
    attribute: Annotated[
        list[str] | None, typer.Option(help="Name of an attribute. Repeat for several. Default: label.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="Column with the labels of an attribute, in [0, 1]. Repeat for several. Default: --attribute."
        ),
    ] = None,
    text_column: TextColumn = "text",
    balance: Annotated[
        bool, typer.Option("--balance", help="Use as many texts with a first label of at least ½ as below.")
    ] = False,
    save_dtype: SaveDtype = "bfloat16",
) -> None:
    """Train a reward from texts with labels in [0, 1]. The reward of every prefix learns the label of its text.

    Example: trimtab train labels --data sst2.jsonl --attribute positive --column label --out rewards/sentiment
    """
    from trimtab.data.tables import read_labelled, select_balanced, select_rows
    from trimtab.errors import InvalidSetting
    from trimtab.training.labels import train_from_labels

    attributes = attribute or ["label"]
    columns = column or attributes
    if len(columns) != len(attributes):
        raise InvalidSetting(f"got {len(columns)} columns for {len(attributes)} attributes, expected one for each")
    command = TrainCommand(out, run, source, recipe)
    table = command.report_faults(read_labelled(source.data, columns, text_column, source.split), source.data)
    held_out = source.held_out and read_labelled(source.held_out, columns, text_column, source.held_out_split)
    select = select_balanced if balance else select_rows
    rows, held_out_rows = command.split_rows(select(table.rows, source.limit, recipe.seed), held_out or None)
    lm = command.load_model(base)
    command.show_summary(
        [row.text for row in rows], lm, {a: [row.labels[i] for row in rows] for i, a in enumerate(attributes)}
    )
    command.save_reward(
        train_from_labels(lm, attributes, rows, held_out_rows, recipe, settings, command.make_run_options()), save_dtype
    )


@app.command()
@expands
def pairs(
    source: Source,
    recipe: Annotated[Recipe, "Training"],
    settings: Annotated[PairSettings, "Objective"],
    out: RewardFolder,
    run: Run = None,
    base: Base = "smollm2",
    attribute: Annotated[str, typer.Option(help="Name of the attribute.")] = "preferred",
    chosen_column: Annotated[str, typer.Option(help="Column with the better text.")] = "chosen",
    rejected_column: Annotated[str, typer.Option(help="Column with the worse text.")] = "rejected",
    save_dtype: SaveDtype = "bfloat16",
) -> None:
    """Train a reward from pairs of texts. The chosen text learns a higher reward than the rejected one (Bradley–Terry).

    Example: trimtab train pairs --data preferences.jsonl --attribute harmless --out rewards/harmless
    """
    from trimtab.data.tables import read_pairs, select_rows
    from trimtab.training.pairs import train_from_pairs

    command = TrainCommand(out, run, source, recipe)
    table = command.report_faults(read_pairs(source.data, chosen_column, rejected_column, source.split), source.data)
    held_out = source.held_out and read_pairs(source.held_out, chosen_column, rejected_column, source.held_out_split)
    rows, held_out_rows = command.split_rows(select_rows(table.rows, source.limit, recipe.seed), held_out or None)
    lm = command.load_model(base)
    command.show_summary([text for row in rows for text in (row.chosen, row.rejected)], lm, {})
    command.save_reward(
        train_from_pairs(lm, attribute, rows, held_out_rows, recipe, settings, command.make_run_options()), save_dtype
    )


@app.command()
@expands
def distil(
    source: Source,
    recipe: Annotated[Recipe, "Training"],
    settings: Annotated[DistilSettings, "Objective"],
    teacher: Annotated[str, typer.Option(help="Reward to learn from: a bundled reward, a folder or a Hub id.")],
    out: RewardFolder,
    run: Run = None,
    targets: Annotated[
        Path | None,
        typer.Option(help="Folder for the teacher's rewards, which other students can reuse. Default: inside --run."),
    ] = None,
    base: Base = "smollm2",
    column: Annotated[
        list[str] | None,
        typer.Option(help="Column with labels, for measuring and for --balance. Repeat for several. Default: none."),
    ] = None,
    text_column: TextColumn = "text",
    balance: Annotated[
        bool, typer.Option("--balance", help="Use as many texts with a --column of at least ½ as below.")
    ] = False,
    save_dtype: SaveDtype = "bfloat16",
) -> None:
    """Train a reward from another reward, such as a Q-head (one call per token) from a V-head (one call per candidate).

    Example: trimtab train distil --teacher sentiment-rad --data texts.jsonl --out rewards/mine
    """
    from trimtab.data.tables import read_labelled, select_balanced, select_rows
    from trimtab.errors import InvalidSetting
    from trimtab.rewards.registry import load_reward
    from trimtab.training.distil import train_from_teacher

    command = TrainCommand(out, run, source, recipe)
    if balance and not column:
        raise InvalidSetting("got --balance, expected --column with it")
    columns = (column or []) if balance or not source.held_out else []
    table = command.report_faults(read_labelled(source.data, columns, text_column, source.split), source.data)
    held_out = source.held_out and read_labelled(source.held_out, column or [], text_column, source.held_out_split)
    select = select_balanced if balance else select_rows
    rows, held_out_rows = command.split_rows(select(table.rows, source.limit, recipe.seed), held_out or None)
    lm = command.load_model(base)
    model = load_reward(teacher, lm)
    if column and len(column) != len(model.attributes):
        raise InvalidSetting(f"got {len(column)} label columns, expected the teacher's {len(model.attributes)}")
    command.show_summary([row.text for row in rows], lm, {})
    command.save_reward(
        train_from_teacher(
            lm,
            model,
            rows,
            held_out_rows,
            recipe,
            settings,
            command.make_run_options(),
            targets or command.run / "targets",
        ),
        save_dtype,
    )
