"""`trimtab rewind calibrate`: how good a judge is."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.cli.consoles import error_console
from trimtab.cli.judges import Alone, Chat, JudgeOption, parse_judge
from trimtab.cli.models import Model, Numbers, load_in

if TYPE_CHECKING:
    from trimtab.rewind.draft import Draft


def calibrate(
    data: Annotated[str, typer.Option(help="A table or a Hub data set of texts whose quality is known.")],
    judge: JudgeOption = "self",
    model: Model = "smollm2",
    dtype: Numbers = "auto",
    text_column: Annotated[str, typer.Option(help="The text to judge.")] = "text",
    prompt_column: Annotated[str | None, typer.Option(help="What it answers; default: nothing.")] = None,
    column: Annotated[str, typer.Option(help="What says whether a text is good.")] = "label",
    good: Annotated[str, typer.Option(help="What that column holds where it is.")] = "1",
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Each row has a better text, chosen, and a worse, rejected.")
    ] = False,
    turn: Annotated[str | None, typer.Option(help="Of whole conversations: what opens the answer to judge.")] = None,
    limit: Annotated[int | None, typer.Option(help="Use the first so many rows.")] = None,
    split: Annotated[str, typer.Option(help="The split, of a data set on the Hub.")] = "train",
    judge_chat: Chat = False,
    judge_alone: Alone = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a judge on texts whose quality is known: accuracy, ties, position bias. Chance is one half.

    Example: trimtab rewind calibrate --data answers.jsonl --column label --good harmless --judge self

    Example: trimtab rewind calibrate --data hh.jsonl --pairs --turn "Assistant:" --judge toxicity=-1
    """
    from dataclasses import asdict

    from trimtab.cli.judges import load_search_judge
    from trimtab.cli.progress import counting
    from trimtab.engines.torch import TorchEngine
    from trimtab.frozen.memory import Memory
    from trimtab.rewind.calibrate import calibrate_on_pairs, calibrate_on_texts
    from trimtab.training.data import column_of, read_table, text_of

    parse_judge(judge)
    lm = load_in(model, dtype)
    asked, engine = load_search_judge(judge, lm, judge_chat, False, judge_alone), TorchEngine(lm.frozen, Memory())

    def draft(prompt: str, text: str) -> "Draft":
        return draft_of(prompt, text, turn, lm.frozen.tokenizer)

    if pairs:
        table: Any = read_table(
            data, split, lambda row: (draft("", text_of(row, "chosen")), draft("", text_of(row, "rejected")))
        )
    else:
        table = read_table(
            data,
            split,
            lambda row: (
                draft(text_of(row, prompt_column) if prompt_column else "", text_of(row, text_column)),
                str(column_of(row, column)) == good,
            ),
        )
    if table.faults:
        error_console().print(f"{len(table.faults)} rows left out; first: {table.faults[0]}", markup=False)
    first, second = zip(*table.rows[:limit], strict=True)
    with counting("texts", error_console()) as progress:
        measure = calibrate_on_pairs if pairs else calibrate_on_texts
        found = measure(asked, first, second, engine, progress)
    for one in found:
        if as_json:
            typer.echo(json.dumps({"data": Path(data).name, **asdict(one), "near_chance": one.near_chance}))
        else:
            typer.echo(one.summary)
        if one.warning:
            error_console().print(f"Warning: {one.warning}", style="bold red", markup=False)


def draft_of(prompt: str, text: str, turn: str | None, tokenizer: Any) -> "Draft":
    """A text to judge; of a conversation, what follows the last place that opens an answer.

    Raises:
        ValueError: the conversation has no such place.
    """
    from trimtab.rewind.draft import Draft

    if turn is not None:
        before, opened, text = text.rpartition(turn)
        if not opened:
            raise ValueError(f"no {turn!r} in it")
        prompt = (before + opened).strip()
    ids = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
    asked = tuple(tokenizer(prompt, add_special_tokens=False)["input_ids"]) if prompt else ()
    return Draft(prompt, asked, ids, text, ())
