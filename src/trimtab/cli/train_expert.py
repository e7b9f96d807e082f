"""`trimtab train expert`: train a language model on texts, to steer by its log-probabilities."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.cli.dataclass_options import expands
from trimtab.cli.options import RewardFolder, TextColumn
from trimtab.cli.train_checks import check_attributes
from trimtab.cli.train_command import TrainCommand
from trimtab.cli.train_options import Base, LabelRange, Run, SaveDtype
from trimtab.errors import InvalidSetting
from trimtab.training.recipe import LM_RECIPE, Recipe, Source

if TYPE_CHECKING:
    from trimtab.data.tables import LabelledText, Table


@expands
def expert(
    source: Source,
    out: RewardFolder,
    recipe: Annotated[Recipe, "Training"] = LM_RECIPE,
    run: Run = None,
    base: Base = "smollm2",
    attribute: Annotated[str, typer.Option(help="Name of the attribute.")] = "expert",
    text_column: TextColumn = "text",
    column: Annotated[
        str | None, typer.Option(help="Column with a label in [0, 1], for --at-least and --at-most. Default: all rows.")
    ] = None,
    label_range: LabelRange = None,
    at_least: Annotated[float | None, typer.Option(help="Use the texts with a label of at least this.")] = None,
    at_most: Annotated[float | None, typer.Option(help="Use the texts with a label of at most this.")] = None,
    save_dtype: SaveDtype = "bfloat16",
) -> None:
    """Train a language model on texts, to steer by its log-probabilities (DExperts, 2105.03023).

    Train one on texts that you want, and one on texts that you do not want. Steer by both, as
    --steer experts:rewards/nontoxic-lm,rewards/toxic-lm=2. --base may be smaller than the model to steer, if it has the
    same tokenizer.

    Example: trimtab train expert --data comments.jsonl --column toxic --at-least 0.5 --out rewards/toxic-lm

    Example: trimtab train expert --data kind_letters.csv --text-column letter --epochs 3 --out rewards/kind-lm
    """
    from trimtab.data.label_values import check_label_range
    from trimtab.data.tables import read_labelled, select_labelled, select_rows
    from trimtab.training.recipe import check_trains_lm

    check_attributes([attribute])
    check_trains_lm(recipe)
    check_label_range(label_range)
    if label_range is not None and column is None:
        raise InvalidSetting("got --label-range, expected --column with it")
    check_bounds(column, at_least, at_most)
    with TrainCommand(out, run, source, recipe, base) as command:
        columns = [] if column is None else [column]
        read = partial(read_labelled, columns=columns, text_column=text_column, label_range=label_range)

        def within(table: "Table[LabelledText]") -> "Table[LabelledText]":
            if column is not None:
                table.rows = select_labelled(table.rows, at_least, at_most)
            return table

        table = within(command.rows.report_faults(read(source.data, split=source.split), source.data))
        held_out = within(read(source.held_out, split=source.held_out_split)) if source.held_out else None
        rows, held_out_rows = command.rows.split(select_rows(table.rows, source.limit, recipe.seed), held_out)
        command.rows.note(column=column, label_range=label_range, at_least=at_least, at_most=at_most)
        lm = command.load_model()
        from trimtab.training.expert import train_expert

        command.show_summary([row.text for row in rows], lm, {})
        options = command.make_run_options()
        reward = train_expert(lm, attribute, rows, held_out_rows, recipe, options)
        command.save_reward(reward, save_dtype)


def check_bounds(column: str | None, at_least: float | None, at_most: float | None) -> None:
    """Check that bounds of a label have a column, that a column has bounds, and that a label can lie within them.

    Raises:
        InvalidSetting: one of these.
    """
    bounds = [bound for bound in (at_least, at_most) if bound is not None]
    if bool(bounds) != (column is not None):
        raise InvalidSetting(
            f"got column={column}, at_least={at_least} and at_most={at_most}, expected a column and a bound, or none"
        )
    if not all(0 <= bound <= 1 for bound in bounds) or bounds != sorted(bounds):
        raise InvalidSetting(f"got at_least={at_least} and at_most={at_most}, expected 0 to 1, in this order")
