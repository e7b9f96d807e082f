"""`trimtab rewind calibrate`: measure a judge."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from trimtab.checking import shown
from trimtab.cli.console import error_console, legible, loading, print_json, report_faults
from trimtab.cli.judges import Alone, JudgeChat, JudgeOption, check_judges, load_search_judge
from trimtab.cli.options import DtypeOption, Model, PrintJson, Retokenize, Split, TextColumn, load_language_model
from trimtab.errors import InvalidPrompt, InvalidSetting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trimtab.judges.base import Judge
    from trimtab.judges.calibration import Calibration
    from trimtab.judges.draft import Draft
    from trimtab.language_model import LanguageModel
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
    limit: Annotated[
        int | None, typer.Option(help="Maximum number of rows, from the first; at least 1. Default: all.")
    ] = None,
    split: Split = "train",
    judge_chat: JudgeChat = False,
    judge_alone: Alone = False,
    retokenize: Retokenize = False,
    as_json: PrintJson = False,
) -> None:
    """Measure a judge on texts of known quality: accuracy, ties and position bias. Chance is one half.

    Example: trimtab rewind calibrate --data answers.jsonl --column label --good harmless --judge self

    Example: trimtab rewind calibrate --data hh.jsonl --pairs --turn "Assistant:" --judge toxicity=-1
    """
    check_judges([judge], judge_chat, alone=judge_alone)
    if limit is not None and limit < 1:
        raise InvalidSetting(f"got --limit {limit}, expected at least 1")
    columns = Columns(text_column, prompt_column, column, good, turn)
    check_columns(columns, pairs)
    with loading(model):
        from trimtab.judges.calibration import check_both_kinds
        from trimtab.judges.notation import early_judge
        from trimtab.models.loading import load_codec

        codec = load_codec(model)
    first, second = read_drafts(data, split, pairs, columns, codec, limit)
    if not pairs:
        check_both_kinds(second)
    with loading(f"the judge {judge}"):
        early = early_judge(judge, codec, judge_chat, retokenize=retokenize)
    lm = load_language_model(model, dtype).session()
    loaded = early or load_search_judge(judge, lm, judge_chat, False, judge_alone, retokenize)
    found = measure(loaded, first, second, pairs, lm)
    record = {"data": Path(data).name, "provenance": provenance_of(lm, loaded, data, split)}
    show(found, record, as_json)


class Columns(NamedTuple):
    """Where a row has its text, its prompt and its verdict.

    Attributes:
        text, prompt, verdict: columns; None for no prompt.
        good: the verdict of a good text.
        turn: what opens the answer in a whole conversation; None if the text is the answer.
    """

    text: str
    prompt: str | None
    verdict: str
    good: str
    turn: str | None


def check_columns(columns: Columns, pairs: bool) -> None:
    """Refuse columns that would not be read.

    Raises:
        InvalidSetting: naming the options.
    """
    if columns.turn is not None and columns.prompt is not None:
        raise InvalidSetting("got --turn with --prompt-column, expected one of them: a conversation has its prompt")
    usual = {"--text-column": "text", "--column": "label", "--good": "1"}
    given = zip(usual.items(), (columns.text, columns.verdict, columns.good), strict=True)
    if pairs and (unread := [option for (option, default), value in given if value != default]):
        raise InvalidSetting(
            f'got {unread[0]} with --pairs, expected it without: pairs are read from "chosen" and "rejected"'
        )


def read_drafts(
    data: str, split: str, pairs: bool, columns: Columns, codec: "TextCodec", limit: int | None
) -> "tuple[Sequence[Draft], Sequence[Any]]":
    """Read texts and whether each is good, or the better and the worse text of each pair.

    Raises:
        InvalidData: no such table, or it has no usable row.
    """
    from trimtab.data.tables import column_of, read_table, text_of

    def draft(prompt: str, text: str) -> "Draft":
        return draft_of(prompt, text, columns.turn, codec)

    def read_pair(row: dict[str, Any]) -> "tuple[Draft, Draft]":
        prompt = text_of(row, columns.prompt) if columns.prompt else ""
        return draft(prompt, text_of(row, "chosen")), draft(prompt, text_of(row, "rejected"))

    def read_text(row: dict[str, Any]) -> "tuple[Draft, bool]":
        prompt = text_of(row, columns.prompt) if columns.prompt else ""
        return draft(prompt, text_of(row, columns.text)), str(column_of(row, columns.verdict)) == columns.good

    table: Any = read_table(data, split, read_pair if pairs else read_text)
    report_faults(data, table.faults)
    first, second = zip(*table.rows[:limit], strict=True)
    return first, second


def measure(
    judge: "Judge", first: "Sequence[Draft]", second: "Sequence[Any]", pairs: bool, lm: "LanguageModel"
) -> "list[Calibration]":
    """Calibrate a judge on texts or on pairs, with a progress bar. Errors as in `calibrate_on_texts`."""
    from trimtab.cli.progress import counting
    from trimtab.judges.calibration import calibrate_on_pairs, calibrate_on_texts

    calibrated: Any = calibrate_on_pairs if pairs else calibrate_on_texts
    with counting("texts", error_console()) as progress:
        found: list[Calibration] = calibrated(judge, first, second, lm.engine, progress)
    return found


def provenance_of(lm: "LanguageModel", judge: "Judge", data: str, split: str) -> dict[str, Any]:
    """Return what made a calibration: versions, the model, the judge, and a hash of the data file."""
    from trimtab.data.tables import hash_of_file
    from trimtab.engines.provenance import provenance
    from trimtab.judges.base import description_of

    about: dict[str, Any] = {"data": Path(data).name}
    if digest := hash_of_file(data):
        about["data_sha256"] = digest
    else:
        about["split"] = split
    return provenance(lm.engine, method="calibrate", judge=description_of(judge), **about)


def show(found: "Sequence[Calibration]", record: dict[str, Any], as_json: bool) -> None:
    """Print calibrations, and warn of judges that are no better than chance.

    Args:
        found: the calibrations.
        record: the name of the data and the provenance, for JSON.
        as_json: print JSON.
    """
    from dataclasses import asdict

    for each in found:
        if as_json:
            figures = {**asdict(each), "near_chance": each.near_chance}
            figures["asked"] = figures.pop("count")  # the key in published calibrations
            print_json({"data": record["data"], **figures, "provenance": record["provenance"]})
        else:
            typer.echo(legible(each.summary, keep=""))
        if each.warning:
            error_console().print(legible(f"Warning: {each.warning}", keep=""), style="bold red", markup=False)


def draft_of(prompt: str, text: str, turn: str | None, codec: "TextCodec") -> "Draft":
    """Make a draft to judge; of a conversation, what follows the last place where `turn` stands.

    Raises:
        ValueError: the conversation has no such place, or the text has no UTF-8 encoding.
    """
    from trimtab.judges.draft import Draft

    if turn is not None:
        before, opened, text = text.rpartition(turn)
        if not opened:
            raise ValueError(f"got a conversation without {shown(turn)}, expected it before the answer")
        prompt = (before + opened).strip()
    try:
        prompt_ids, token_ids = (tuple(codec.encode_text(part)) if part else () for part in (prompt, text))
    except InvalidPrompt as error:
        raise ValueError(str(error)) from error
    return Draft(prompt, prompt_ids, token_ids, text)
