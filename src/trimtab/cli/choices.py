"""`trimtab evaluate choices`: measure steers on multiple-choice questions."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.cli.console import error_console, legible, loading, output_console, report_faults
from trimtab.cli.dataclass_options import expands
from trimtab.cli.options import DtypeOption, Force, Model, Split, SteerOption, load_language_model
from trimtab.errors import InvalidSetting

if TYPE_CHECKING:
    from trimtab.data.choices import Question
    from trimtab.data.tables import Table
    from trimtab.evaluation.score.metrics import Ratio
    from trimtab.language_model import LanguageModel
    from trimtab.models.codec import TextCodec
    from trimtab.steering.steer import Steer

UNSTEERED = "unsteered"


@expands
def choices(
    data: Annotated[
        str,
        typer.Option(
            help="Table or Hub data set of questions: columns prompt, choices (a list of texts) and answer (the place "
            "of the right one, from 0)."
        ),
    ],
    model: Model = "smollm2",
    dtype: DtypeOption = "auto",
    steer: SteerOption = None,
    top_k: Annotated[
        int, typer.Option(help="Candidates per token of a steered answer; 0 for the whole vocabulary.")
    ] = 0,
    split: Split = "train",
    limit: Annotated[
        int | None, typer.Option(help="Maximum number of questions, from the first. Default: all.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File for the figures as JSON. Default: print only.")] = None,
    force: Force = False,
) -> None:
    """Measure steers on multiple-choice questions: how often the right choice is the most likely one.

    Each --steer is measured alone, beside the unsteered model. With a datastore and =1, the choices are scored by its
    mixture with the model (RTD, 2409.20181).

    Example: trimtab evaluate choices --data questions.jsonl --steer rewards/answers=1
    """
    from trimtab.data.json_text import dump_json
    from trimtab.data.outputs import check_output, write_whole
    from trimtab.evaluation.checks import check_at_least, check_different
    from trimtab.models.loading import load_codec
    from trimtab.rewards.registry import check_candidates, check_steers

    target = check_output(out, "--out", [Path(data)], force) if out else None
    check_at_least(1, limit=limit)
    check_at_least(0, top_k=top_k)
    check_different("steer", steer or [])
    check_steers(steer or [])
    with loading(model):
        codec = load_codec(model)
        check_steers(steer or [], codec=codec)
        check_candidates(steer or [], None, top_k or None, codec)
        if top_k > len(codec.tokenizer):
            raise InvalidSetting(f"got --top-k {top_k}, expected at most the vocabulary size, {len(codec.tokenizer)}")
    table = questions_of(data, split, codec)
    lm = load_language_model(model, dtype)
    found, made_of = measure_all(lm, table, steer or [], top_k or None, limit)
    print_figures(found, len(table.rows[:limit]))
    if target:
        made_by = origin(lm, table, made_of, top_k, limit)
        write_whole(target, dump_json({"made_by": made_by, "figures": entries(found)}, indent=1) + "\n")


def questions_of(data: str, split: str, codec: "TextCodec") -> "Table[Question]":
    """Read the questions that fit the context; the faults of the others are reported."""
    from trimtab.data.choices import read_questions

    def check(question: "Question") -> None:
        longest = max(len(codec.encode_text(choice)) for choice in question.choices)
        tokens = len(codec.encode_prompt(question.prompt)) + longest
        if tokens >= codec.context_length:
            raise ValueError(f"got a question of {tokens} tokens, expected fewer than {codec.context_length}")

    table = read_questions(data, split, check)
    report_faults(data, table.faults)
    return table


def measure_all(
    lm: "LanguageModel", table: "Table[Question]", steers: list[str], top_k: int | None, limit: int | None
) -> "tuple[dict[str, dict[str, Ratio]], dict[str, Any]]":
    """Return the figures of the unsteered model and of each steer, and what each steer is made of."""
    from rich.markup import escape

    from trimtab.cli.progress import counting
    from trimtab.evaluation.score.multiple_choice import choice_figures, score_choices
    from trimtab.rewards.registry import load_steers

    loaded: dict[str, Steer | None] = {UNSTEERED: None}
    with loading("rewards"):
        loaded |= {text: load_steers([text], base=lm.base) for text in steers}
    questions, found = table.rows[:limit], {}
    for name, steer in loaded.items():
        with counting(escape(legible(name)), error_console()) as progress:
            scores = score_choices(lm.engine, questions, steer, top_k, progress)
        found[name] = choice_figures(questions, scores)
    return found, {name: steer.describe() for name, steer in loaded.items() if steer is not None}


def print_figures(found: "dict[str, dict[str, Ratio]]", count: int) -> None:
    """Print a table with a row for each steer."""
    from rich.table import Table
    from rich.text import Text

    table = Table("steer", "questions", "accuracy", "95 % interval", "chance")
    for name, of in found.items():
        low, high = of["accuracy"].interval()
        shown = f"{of['accuracy'].value:.3f}", f"{low:.3f} to {high:.3f}", f"{of['chance'].value:.3f}"
        table.add_row(Text(legible(name)), str(count), *shown)
    output_console().print(table)


def entries(found: "dict[str, dict[str, Ratio]]") -> dict[str, Any]:
    """Return the figures with their intervals, ready for JSON."""
    from trimtab.evaluation.report.record import figure_entry

    return {name: {figure: figure_entry(ratio) for figure, ratio in of.items()} for name, of in found.items()}


def origin(
    lm: "LanguageModel", table: "Table[Question]", made_of: dict[str, Any], top_k: int, limit: int | None
) -> dict[str, Any]:
    """Return what made the figures: versions, the model, the steers, and data."""
    from trimtab.engines.provenance import provenance

    data = {"sha256": table.sha256, "questions": len(table.rows[:limit])}
    return provenance(lm.engine) | {"steer": made_of, "data": data, "top_k": top_k}
