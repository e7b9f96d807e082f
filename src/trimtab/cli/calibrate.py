"""`trimtab rewind calibrate`: measure a judge."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.cli.console import error_console
from trimtab.cli.judges import Alone, JudgeChat, JudgeOption, load_search_judge, parse_judge
from trimtab.cli.options import DtypeOption, Model, PrintJson, TextColumn, load_language_model
from trimtab.errors import InvalidPrompt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trimtab.judges.calibration import Calibration
    from trimtab.judges.draft import Draft
    from trimtab.models.codec import TextCodec


def calibrate(
    data: Annotated[
        str,
        typer.Option(help="Texts of known quality: a .jsonl, .csv or .tsv file (.gz allowed), a folder or a Hub id."),
    ],
    judge: JudgeOption = "self",
    model: Model = "smollm2",
    dtype: DtypeOption = "auto",
    text_column: TextColumn = "text",
    prompt_column: Annotated[
        str | None, typer.Option(help="Column with the prompt that the text answers. Default: no prompt.")
    ] = None,
    column: Annotated[str, typer.Option(help="Column that marks good texts.")] = "label",
    good: Annotated[str, typer.Option(help="Value of --column that marks a good text.")] = "1",
    pairs: Annotated[
        bool, typer.Option("--pairs", help='Read pairs of texts from the columns "chosen" (better) and "rejected".')
    ] = False,
    turn: Annotated[
        str | None,
        typer.Option(help='The texts are whole conversations: judge what follows the last TURN, such as "Assistant:".'),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Maximum number of rows, from the first. Default: all.")] = None,
    split: Annotated[str, typer.Option(help="Split of a data set on the Hub.")] = "train",
    judge_chat: JudgeChat = False,
    judge_alone: Alone = False,
    as_json: PrintJson = False,
) -> None:
    """Measure a judge on texts of known quality: accuracy, ties and position bias. Chance is one half.

    Example: trimtab rewind calibrate --data answers.jsonl --column label --good harmless --judge self

    Example: trimtab rewind calibrate --data hh.jsonl --pairs --turn "Assistant:" --judge toxicity=-1
    """
    from trimtab.cli.progress import counting
    from trimtab.data.tables import column_of, read_table, text_of
    from trimtab.judges.calibration import calibrate_on_pairs, calibrate_on_texts

    parse_judge(judge)
    lm = load_language_model(model, dtype).session()
    loaded, codec = load_search_judge(judge, lm, judge_chat, False, judge_alone), lm.engine.codec

    def read_pair(row: dict[str, Any]) -> "tuple[Draft, Draft]":
        return (
            draft_of("", text_of(row, "chosen"), turn, codec),
            draft_of("", text_of(row, "rejected"), turn, codec),
        )

    def read_text(row: dict[str, Any]) -> "tuple[Draft, bool]":
        prompt = text_of(row, prompt_column) if prompt_column else ""
        return draft_of(prompt, text_of(row, text_column), turn, codec), str(column_of(row, column)) == good

    table: Any = read_table(data, split, read_pair if pairs else read_text)
    if table.faults:
        error_console().print(f"{len(table.faults)} rows left out; first: {table.faults[0]}", markup=False)
    first, second = zip(*table.rows[:limit], strict=True)
    measure: Any = calibrate_on_pairs if pairs else calibrate_on_texts
    with counting("texts", error_console()) as progress:
        found = measure(loaded, first, second, lm.engine, progress)
    show(found, Path(data).name, as_json)


def show(found: "Sequence[Calibration]", data: str, as_json: bool) -> None:
    """Print calibrations, and warn of judges that are no better than chance."""
    from dataclasses import asdict

    for each in found:
        if as_json:
            record = {"data": data, **asdict(each), "near_chance": each.near_chance}
            record["asked"] = record.pop("count")  # the key in published calibrations
            typer.echo(json.dumps(record))
        else:
            typer.echo(each.summary)
        if each.warning:
            error_console().print(f"Warning: {each.warning}", style="bold red", markup=False)


def draft_of(prompt: str, text: str, turn: str | None, codec: "TextCodec") -> "Draft":
    """Make a draft to judge; of a conversation, what follows the last place where `turn` stands.

    Raises:
        ValueError: the conversation has no such place, or the text has no UTF-8 encoding.
    """
    from trimtab.judges.draft import Draft

    if turn is not None:
        before, opened, text = text.rpartition(turn)
        if not opened:
            raise ValueError(f"got a conversation without {turn!r}, expected it before the answer")
        prompt = (before + opened).strip()
    try:
        prompt_ids, token_ids = (tuple(codec.encode_text(part)) if part else () for part in (prompt, text))
    except InvalidPrompt as error:
        raise ValueError(str(error)) from error
    return Draft(prompt, prompt_ids, token_ids, text)
