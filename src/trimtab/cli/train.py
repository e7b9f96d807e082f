"""`trimtab train`: train rewards from labels, from preferences, from another reward, or language models from texts."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from trimtab.cli.dataclass_options import expands
from trimtab.cli.options import RewardFolder, TextColumn
from trimtab.cli.train_checks import check_attributes
from trimtab.cli.train_command import TrainCommand
from trimtab.cli.train_datastore import datastore
from trimtab.cli.train_draft import draft
from trimtab.cli.train_expert import expert
from trimtab.cli.train_options import Base, LabelRange, Run, SaveDtype
from trimtab.training.recipe import (
    LM_RECIPE,
    DistilSettings,
    GenARMSettings,
    LabelSettings,
    PairSettings,
    Recipe,
    Source,
    check_learns_pairs,
    check_scores_prefixes,
)

DEFAULT_GENARM = GenARMSettings()

app = typer.Typer(
    no_args_is_help=True,
    help="Train rewards from labels, from preferences, from another reward, or language models from texts.",
    epilog="Interrupted runs resume when the same command is given again.\n\n"
    "On several GPUs: torchrun --nproc-per-node N -m trimtab train …",
)

app.command()(draft)


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
            help="Column with the labels of an attribute: numbers in [0, 1], or true and false. Repeat for several. "
            "Default: --attribute."
        ),
    ] = None,
    label_range: LabelRange = None,
    text_column: TextColumn = "text",
    balance: Annotated[
        bool, typer.Option("--balance", help="Use as many texts with a first label of at least ½ as below.")
    ] = False,
    save_dtype: SaveDtype = "bfloat16",
) -> None:
    """Train a reward from texts with labels. The reward of every prefix learns the label of its text.

    Example: trimtab train labels --data sst2.jsonl --attribute positive --column label --out rewards/sentiment
    """
    from trimtab.data.label_values import check_label_range
    from trimtab.data.tables import read_labelled, select_balanced, select_rows
    from trimtab.errors import InvalidSetting

    attributes = attribute or ["label"]
    columns = column or attributes
    if len(columns) != len(attributes):
        raise InvalidSetting(f"got {len(columns)} columns for {len(attributes)} attributes, expected one for each")
    check_attributes(attributes)
    check_scores_prefixes(recipe)
    check_label_range(label_range)
    with TrainCommand(out, run, source, recipe, base) as command:
        read = partial(read_labelled, columns=columns, text_column=text_column, label_range=label_range)
        table = command.rows.report_faults(read(source.data, split=source.split), source.data)
        held_out = read(source.held_out, split=source.held_out_split) if source.held_out else None
        select = select_balanced if balance else select_rows
        rows, held_out_rows = command.rows.split(select(table.rows, source.limit, recipe.seed), held_out)
        command.rows.note(label_range=label_range)
        lm = command.load_model()
        from trimtab.training.labels import train_from_labels

        labels = {name: [row.labels[i] for row in rows] for i, name in enumerate(attributes)}
        command.show_summary([row.text for row in rows], lm, labels)
        options = command.make_run_options()
        reward = train_from_labels(lm, attributes, rows, held_out_rows, recipe, settings, options)
        command.save_reward(reward, save_dtype)


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

    check_attributes([attribute])
    check_scores_prefixes(recipe)
    check_learns_pairs(recipe, settings)
    with TrainCommand(out, run, source, recipe, base) as command:
        read = partial(read_pairs, chosen_column=chosen_column, rejected_column=rejected_column)
        table = command.rows.report_faults(read(source.data, split=source.split), source.data)
        held_out = read(source.held_out, split=source.held_out_split) if source.held_out else None
        rows, held_out_rows = command.rows.split(select_rows(table.rows, source.limit, recipe.seed), held_out)
        lm = command.load_model()
        from trimtab.training.pairs import train_from_pairs

        command.show_summary([text for row in rows for text in (row.chosen, row.rejected)], lm, {})
        options = command.make_run_options()
        reward = train_from_pairs(lm, attribute, rows, held_out_rows, recipe, settings, options)
        command.save_reward(reward, save_dtype)


@app.command()
@expands
def genarm(
    source: Source,
    out: RewardFolder,
    recipe: Annotated[Recipe, "Training"] = LM_RECIPE,
    settings: Annotated[GenARMSettings, "Objective"] = DEFAULT_GENARM,
    run: Run = None,
    base: Base = "smollm2",
    attribute: Annotated[str, typer.Option(help="Name of the attribute.")] = "preferred",
    chosen_column: Annotated[str, typer.Option(help="Column with the better text.")] = "chosen",
    rejected_column: Annotated[str, typer.Option(help="Column with the worse text.")] = "rejected",
    save_dtype: SaveDtype = "bfloat16",
) -> None:
    """Train a language model from pairs of texts, to steer by its log-probabilities (GenARM, 2410.08193).

    Both texts of a pair begin with the same prompt. --base may be smaller than the model to steer, if it has the same
    tokenizer. Steer by the folder with a β near 1, as --steer rewards/harmless-lm=+1, or name it as an expert.

    Example: trimtab train genarm --data preferences.jsonl --attribute harmless --out rewards/harmless-lm

    Example: trimtab train genarm --data preferences.csv --base models/small --beta-r 0.1 --out rewards/small-lm
    """
    from trimtab.data.tables import read_pairs, select_rows
    from trimtab.training.recipe import check_trains_lm

    check_attributes([attribute])
    check_trains_lm(recipe)
    with TrainCommand(out, run, source, recipe, base) as command:
        read = partial(read_pairs, chosen_column=chosen_column, rejected_column=rejected_column)
        table = command.rows.report_faults(read(source.data, split=source.split), source.data)
        held_out = read(source.held_out, split=source.held_out_split) if source.held_out else None
        rows, held_out_rows = command.rows.split(select_rows(table.rows, source.limit, recipe.seed), held_out)
        lm = command.load_model()
        from trimtab.training.genarm import train_genarm

        command.show_summary([text for row in rows for text in (row.chosen, row.rejected)], lm, {})
        options = command.make_run_options()
        reward = train_genarm(lm, attribute, rows, held_out_rows, recipe, settings, options)
        command.save_reward(reward, save_dtype)


app.command()(expert)
app.command()(datastore)


@app.command()
@expands
def distil(
    source: Source,
    recipe: Annotated[Recipe, "Training"],
    settings: Annotated[DistilSettings, "Objective"],
    teacher: Annotated[
        list[str],
        typer.Option(
            help="Reward to learn from: a bundled reward, a folder or a Hub id. Of another tokenizer than --base: one "
            "with a V-head, such as toxicity-rad. Repeat for one student of several."
        ),
    ],
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
    label_range: LabelRange = None,
    text_column: TextColumn = "text",
    balance: Annotated[
        bool, typer.Option("--balance", help="Use as many texts with a --column of at least ½ as below.")
    ] = False,
    save_dtype: SaveDtype = "bfloat16",
) -> None:
    """Train a reward from another reward, such as a Q-head (one call per token) from a V-head (one call per candidate).

    Example: trimtab train distil --teacher sentiment-rad --data texts.jsonl --out rewards/mine

    Example: trimtab train distil --teacher sentiment-rad --teacher toxicity-rad --trunk ladder --data texts.jsonl --out
    rewards/both
    """
    from trimtab.data.label_values import check_label_range
    from trimtab.data.tables import read_labelled, select_balanced, select_rows
    from trimtab.errors import InvalidSetting
    from trimtab.rewards.card import read_card
    from trimtab.rewards.registry import find_reward
    from trimtab.training.recipe import check_target_of, check_teachers

    if balance and not column:
        raise InvalidSetting("got --balance, expected --column with it")
    check_label_range(label_range)
    cards = {name: read_card(find_reward(name)) for name in teacher}
    for name, card in cards.items():
        check_target_of(name, card, recipe, settings)
    attributes, _ = check_teachers([cards[name] for name in teacher])
    if column and len(column) != len(attributes):
        raise InvalidSetting(f"got {len(column)} label columns, expected the teacher's {len(attributes)}")
    with TrainCommand(out, run, source, recipe, base, targets) as command:
        for name, card in cards.items():
            command.check_teacher(name, card, settings)
        read = partial(read_labelled, text_column=text_column, label_range=label_range)
        columns = (column or []) if balance or not source.held_out else []
        table = command.rows.report_faults(read(source.data, columns, split=source.split), source.data)
        held_out = read(source.held_out, column or [], split=source.held_out_split) if source.held_out else None
        select = select_balanced if balance else select_rows
        rows, held_out_rows = command.rows.split(select(table.rows, source.limit, recipe.seed), held_out)
        command.rows.note(label_range=label_range)
        lm = command.load_model()
        from trimtab.training.distil import train_from_teacher
        from trimtab.training.text_teacher import load_teacher

        models = [load_teacher(name, lm) for name in teacher]
        command.show_summary([row.text for row in rows], lm, {})
        options = command.make_run_options()
        reward = train_from_teacher(lm, models, rows, held_out_rows, recipe, settings, options, command.targets)
        command.save_reward(reward, save_dtype)
