"""`trimtab evaluate`: compare methods."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.cli.console import error_console
from trimtab.cli.dataclass_options import expands
from trimtab.cli.options import TextColumn
from trimtab.cli.sweep_command import SweepCommand, load_one, write_report
from trimtab.errors import InvalidSetting
from trimtab.evaluation.run.sweep_settings import Grid, ScoringOptions, SweepSettings

if TYPE_CHECKING:
    from trimtab.data.preferences import Comparison
    from trimtab.evaluation.run.methods import Chosen
    from trimtab.evaluation.run.prompt_sets import Direction
    from trimtab.evaluation.score.metrics import Ratio

Methods = Annotated[Grid, "Methods"]
Texts = Annotated[SweepSettings, "Texts"]
Scoring = Annotated[ScoringOptions, "Scoring"]
Out = Annotated[Path, typer.Option(help="Folder of the comparison: one file of texts per row, and the report.")]
Column = Annotated[
    str, typer.Option(help='Column of the prompt; prompt.text is the field "text" of the column "prompt".')
]
Split = Annotated[str, typer.Option(help="Split of data sets on the Hub.")]
Rounds = Annotated[int, typer.Option(help="Rounds of timing, in which the methods take turns; 0 for no timing.")]
Up = Annotated[
    list[str] | None, typer.Option(help="Table or Hub data set of prompts to steer up. Repeat for several sets.")
]
Down = Annotated[
    list[str] | None, typer.Option(help="Table or Hub data set of prompts to steer down. Repeat for several sets.")
]

app = typer.Typer(
    no_args_is_help=True,
    help="Compare methods: how much control each has, and what it costs in fluency and time.",
    epilog="Interrupted comparisons resume: run the same command again. More rows in the same folder join its report. "
    "Several processes may work in one folder.",
)


@app.command()
@expands
def toxicity(
    grid: Methods,
    settings: Texts,
    scoring: Scoring,
    out: Out,
    prompts: Annotated[list[str], typer.Option(help="Table or Hub data set of prompts. Repeat for several sets.")],
    column: Column = "prompt",
    split: Split = "train",
    rounds: Rounds = 3,
) -> None:
    """Steer away from toxicity: average maximum toxicity, toxic rate and mean toxicity of the continuations.

    Example: trimtab evaluate toxicity --prompts rtp.jsonl --reward toxicity --beta 10 --beta 30 --out runs/toxicity
    """
    sources: list[tuple[str, Direction]] = [(source, "down") for source in prompts]
    SweepCommand("toxicity", sources, (column, split), grid, settings, out).run(scoring, rounds)


@app.command()
@expands
def sentiment(
    grid: Methods,
    settings: Texts,
    scoring: Scoring,
    out: Out,
    up: Up = None,
    down: Down = None,
    column: Column = "prompt",
    split: Split = "train",
    rounds: Rounds = 3,
) -> None:
    """Steer to positive or negative sentiment: the share of texts, prompt and continuation, called positive.

    Example: trimtab evaluate sentiment --up neutral.jsonl --reward sentiment --beta 20 --out runs/sentiment
    """
    SweepCommand("sentiment", both_ways(up, down), (column, split), grid, settings, out).run(scoring, rounds)


@app.command()
@expands
def prompts(
    grid: Methods,
    settings: Texts,
    scoring: Scoring,
    out: Out,
    up: Up = None,
    down: Down = None,
    column: Column = "prompt",
    split: Split = "train",
    rounds: Rounds = 3,
) -> None:
    """Steer your own prompts by any reward, and score the continuations by any judge.

    Example: trimtab evaluate prompts --up mine.jsonl --reward rewards/polite --beta 20 --judge ID:LABEL --out runs/mine
    """
    if not scoring.judge:
        raise InvalidSetting("got no --judge, expected at least one: this task has no judges of its own")
    SweepCommand("prompts", both_ways(up, down), (column, split), grid, settings, out).run(scoring, rounds)


@app.command()
def preference(
    data: Annotated[
        list[str],
        typer.Option(
            help="Table or Hub data set of preferences: columns chosen and rejected, or the layout of RM-Bench, "
            "RewardBench or LLMBar. Repeat for several."
        ),
    ],
    reward: Annotated[list[str], typer.Option(help="Reward to measure, as NAME[:ATTRIBUTE]. Repeat to compare.")],
    down: Annotated[
        bool, typer.Option("--down", help="The better answer should have the lower reward, as with toxicity.")
    ] = False,
    template: Annotated[
        str, typer.Option(help="Text of a prompt and an answer, with the places {prompt} and {answer}.")
    ] = "{prompt}\n\n{answer}",
    chosen_column: Annotated[str, typer.Option(help="Column of the better answer.")] = "chosen",
    rejected_column: Annotated[str, typer.Option(help="Column of the worse answer.")] = "rejected",
    split: Split = "train",
    limit: Annotated[
        int | None, typer.Option(help="Maximum number of comparisons per data set, from the first. Default: all.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File for the figures as JSON. Default: print only.")] = None,
) -> None:
    """Measure rewards on preferences: how often the better answer has the strictly higher reward.

    Example: trimtab evaluate preference --data paradetox_dev.jsonl --reward toxicity --down
    """
    from rich.console import Console
    from rich.table import Table

    from trimtab.data.preferences import read_preferences
    from trimtab.evaluation.report.render import figure_entry

    if "{answer}" not in template:
        raise InvalidSetting(f'got --template {template!r}, expected "{{answer}}" in it, and usually "{{prompt}}"')
    rewards = {spec: load_one(spec) for spec in reward}
    table, written = Table("data", "comparisons", "figure", *rewards), {}
    for source in data:
        found = read_preferences(source, split, chosen_column, rejected_column)
        comparisons, name = found.rows[:limit], Path(source).name.partition(".")[0]
        if found.faults:
            error_console().print(f"{name}: {len(found.faults)} rows left out; first: {found.faults[0]}", markup=False)
        columns = {
            spec: measure_preferences(chosen, comparisons, "down" if down else "up", template, (name, spec))
            for spec, chosen in rewards.items()
        }
        for figure in next(iter(columns.values())):
            cells = (f"{of[figure].value:.3f}" for of in columns.values())
            table.add_row(name, str(len(comparisons)), figure, *cells)
        written[name] = {spec: {f: figure_entry(r) for f, r in of.items()} for spec, of in columns.items()}
    Console().print(table)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def measure_preferences(
    chosen: "Chosen", comparisons: "Sequence[Comparison]", way: "Direction", template: str, names: tuple[str, str]
) -> "dict[str, Ratio]":
    """The accuracies of one reward on one data set, with a progress bar; `names` are those of both."""
    from trimtab.cli.progress import counting
    from trimtab.evaluation.score.preference_accuracy import accuracy_figures, score_comparisons

    console, (data, reward) = error_console(), names
    with counting(f"{data}, {reward}", console) as progress:
        scores, cut = score_comparisons(*chosen, way, comparisons, template, progress)
    if cut:
        console.print(f"{data}: {cut} texts were cut at the beginning to fit the context of {reward}", markup=False)
    return accuracy_figures(comparisons, scores)


@app.command()
@expands
def report(
    scoring: ScoringOptions,
    folder: Annotated[Path, typer.Argument(help="Folder of a comparison.")],
) -> None:
    """Compute all figures again from the saved texts, and write the report. No text is written.

    Example: trimtab evaluate report runs/toxicity --judge profanity --judge onnx:toxicity-bert-tiny
    """
    write_report(folder, scoring)


@app.command()
def judges(
    data: Annotated[str, typer.Option(help="Table or Hub data set of texts with scores or labels from 0 to 1.")],
    judge: Annotated[
        list[str],
        typer.Option(
            help="Judge to measure: vader, profanity, onnx:FOLDER, reward:NAME[:ATTRIBUTE], or a text-classification "
            "model as ID:LABEL. Repeat for several."
        ),
    ],
    task: Annotated[
        str, typer.Option(help="toxicity, sentiment or prompts: selects a classifier's label if none is named.")
    ] = "toxicity",
    text_column: TextColumn = "text",
    column: Annotated[str, typer.Option(help="Column of the score.")] = "label",
    split: Split = "train",
    limit: Annotated[int | None, typer.Option(help="Maximum number of texts, from the first. Default: all.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of a comparison whose report shows the figures. Default: print only.")
    ] = None,
) -> None:
    """Measure judges on scored texts: Spearman's ρ, and AUC and accuracy for scores of at least ½.

    Example: trimtab evaluate judges --data rtp.jsonl --text-column continuation --column continuation_toxicity
    --judge profanity --out runs/toxicity
    """
    from rich.console import Console

    from trimtab.data.tables import read_labelled
    from trimtab.evaluation.score.judge_agreement import measure_judges, save_agreement
    from trimtab.evaluation.tasks import find_task
    from trimtab.judges.load import load_judge

    labels = find_task(task).labels
    rows = read_labelled(data, [column], text_column, split).rows[:limit]
    found = measure_judges([load_judge(spec, labels) for spec in judge], rows)
    Console().print(agreement_table(found))
    if out:
        save_agreement(out, f"{Path(data).name.partition('.')[0]} ({column})", found)


def agreement_table(found: dict[str, dict[str, Any]]) -> Any:
    """A table of the figures of `measure_judges`."""
    from rich.table import Table

    table = Table("judge", "Spearman", "AUC at ½", "accuracy", "texts", "failed")
    for name, of in found.items():
        figures = (f"{of[figure]:.3f}" for figure in ("spearman", "auc", "accuracy"))
        table.add_row(name, *figures, str(of["texts"]), str(of["failed"]))
    return table


def both_ways(up: list[str] | None, down: list[str] | None) -> "list[tuple[str, Direction]]":
    """The prompt sets with their directions.

    Raises:
        InvalidSetting: there are none.
    """
    sources: list[tuple[str, Direction]] = [(source, "up") for source in up or []]
    sources += [(source, "down") for source in down or []]
    if not sources:
        raise InvalidSetting("got no prompts, expected --up or --down with a table or a Hub data set")
    return sources
