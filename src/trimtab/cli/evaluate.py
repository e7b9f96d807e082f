"""`trimtab evaluate`: methods side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.cli.consoles import error_console
from trimtab.cli.desk import Desk, load_one, write_report
from trimtab.cli.settings import expands
from trimtab.errors import InvalidSetting
from trimtab.evaluation.settings import Grid, Reads, SweepSettings

if TYPE_CHECKING:
    from trimtab.evaluation.prompts import Direction

Methods = Annotated[Grid, "Methods"]
Texts = Annotated[SweepSettings, "Texts"]
Readers = Annotated[Reads, "Figures"]
Out = Annotated[Path, typer.Option(help="The folder of the comparison: a file of texts for each row, and the report.")]
Column = Annotated[str, typer.Option(help="The column of the prompt; prompt.text is a field of a column.")]
Split = Annotated[str, typer.Option(help="The split, of data sets on the Hub.")]
Rounds = Annotated[int, typer.Option(help="Rounds of timing all methods side by side; 0 for none.")]

app = typer.Typer(
    no_args_is_help=True,
    help="Compare methods: how much control, at what cost in fluency and time.",
    epilog="A comparison that was stopped goes on where it was: give the same command again. More rows in the same "
    "folder join the same report; several processes may work in one folder.",
)


@app.command()
@expands
def toxicity(
    grid: Methods,
    settings: Texts,
    reads: Readers,
    out: Out,
    prompts: Annotated[list[str], typer.Option(help="A table or a Hub data set of prompts; repeat for several sets.")],
    column: Column = "prompt",
    split: Split = "train",
    rounds: Rounds = 3,
) -> None:
    """Steer away from toxicity: average maximum toxicity, toxic rate and mean toxicity of the continuations.

    Example: trimtab evaluate toxicity --prompts rtp.jsonl --reward toxicity --beta 10 --beta 30 --out runs/toxicity
    """
    Desk("toxicity", [(source, "down") for source in prompts], (column, split), grid, settings, out).work(reads, rounds)


@app.command()
@expands
def sentiment(
    grid: Methods,
    settings: Texts,
    reads: Readers,
    out: Out,
    up: Annotated[list[str] | None, typer.Option(help="Prompts to turn positive; repeat for several sets.")] = None,
    down: Annotated[list[str] | None, typer.Option(help="Prompts to turn negative; repeat for several sets.")] = None,
    column: Column = "prompt",
    split: Split = "train",
    rounds: Rounds = 3,
) -> None:
    """Steer to positive or negative sentiment: the share of texts, prompt and continuation, called positive.

    Example: trimtab evaluate sentiment --up neutral.jsonl --reward sentiment --beta 20 --out runs/sentiment
    """
    Desk("sentiment", both_ways(up, down), (column, split), grid, settings, out).work(reads, rounds)


@app.command()
@expands
def prompts(
    grid: Methods,
    settings: Texts,
    reads: Readers,
    out: Out,
    up: Annotated[list[str] | None, typer.Option(help="Prompts to steer up; repeat for several sets.")] = None,
    down: Annotated[list[str] | None, typer.Option(help="Prompts to steer down; repeat for several sets.")] = None,
    column: Column = "prompt",
    split: Split = "train",
    rounds: Rounds = 3,
) -> None:
    """Steer any prompts by any reward, and let any judge read the continuations.

    Example: trimtab evaluate prompts --up mine.jsonl --reward rewards/polite --beta 20 --judge ID:LABEL --out runs/mine
    """
    if not reads.judge:
        raise InvalidSetting("got no --judge, expected at least one: this task has none of its own")
    Desk("prompts", both_ways(up, down), (column, split), grid, settings, out).work(reads, rounds)


@app.command()
def preference(
    data: Annotated[
        list[str], typer.Option(help="Pairs (chosen, rejected), RM-Bench, RewardBench or LLMBar; a table or a Hub id.")
    ],
    reward: Annotated[list[str], typer.Option(help="NAME[:ATTRIBUTE] to measure; repeat to compare.")],
    down: Annotated[bool, typer.Option("--down", help="The better answer has less of it, as with toxicity.")] = False,
    template: Annotated[str, typer.Option(help="How prompt and answer make a text.")] = "{prompt}\n\n{answer}",
    chosen_column: Annotated[str, typer.Option(help="The column of the better answer.")] = "chosen",
    rejected_column: Annotated[str, typer.Option(help="The column of the worse one.")] = "rejected",
    split: Split = "train",
    limit: Annotated[int | None, typer.Option(help="The first so many comparisons of each.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the figures as JSON, too.")] = None,
) -> None:
    """Measure rewards on preferences: how often the better answer scores strictly above the worse one.

    Example: trimtab evaluate preference --data paradetox_dev.jsonl --reward toxicity --down
    """
    import json

    from rich.console import Console
    from rich.table import Table

    from trimtab.cli.progress import counting
    from trimtab.evaluation.preference_accuracy import accuracy_figures, score_comparisons
    from trimtab.evaluation.preferences import read_preferences
    from trimtab.evaluation.render import figure_entry

    if "{answer}" not in template:
        raise InvalidSetting(f'got --template {template!r}, expected "{{answer}}" in it, and usually "{{prompt}}"')
    rewards = {spec: load_one(spec) for spec in reward}
    table, written, notes = Table("data", "comparisons", "figure", *rewards), {}, error_console()
    for source in data:
        found = read_preferences(source, split, chosen_column, rejected_column)
        comparisons, name = found.rows[:limit], Path(source).name.partition(".")[0]
        if found.faults:
            notes.print(f"{name}: {len(found.faults)} rows left out; first: {found.faults[0]}", markup=False)
        columns = {}
        for spec, (model, attribute) in rewards.items():
            with counting(f"{name}, {spec}", notes) as progress:
                way: Direction = "down" if down else "up"
                scores, cut = score_comparisons(model, attribute, way, comparisons, template, progress)
            if cut:
                notes.print(f"{name}: {cut} texts lost their beginning to fit the context of {spec}", markup=False)
            columns[spec] = accuracy_figures(comparisons, scores)
        for figure in next(iter(columns.values())):
            cells = (f"{of[figure].value:.3f}" for of in columns.values())
            table.add_row(name, str(len(comparisons)), figure, *cells)
        written[name] = {spec: {f: figure_entry(r) for f, r in of.items()} for spec, of in columns.items()}
    Console().print(table)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@app.command()
@expands
def report(
    reads: Reads,
    folder: Annotated[Path, typer.Argument(help="The folder of a comparison.")],
) -> None:
    """Compute every figure again from the texts that are kept, and write the report; no text is written.

    Example: trimtab evaluate report runs/toxicity --judge profanity --judge onnx:toxicity-bert-tiny
    """
    write_report(folder, reads)


@app.command()
def judges(
    data: Annotated[str, typer.Option(help="A table of texts with scores in [0, 1], or labels.")],
    judge: Annotated[list[str], typer.Option(help="As in the other commands; repeat for several.")],
    task: Annotated[str, typer.Option(help="What it is about: toxicity, sentiment or prompts.")] = "toxicity",
    text_column: Annotated[str, typer.Option(help="The column of the text.")] = "text",
    column: Annotated[str, typer.Option(help="The column of the score.")] = "label",
    split: Split = "train",
    limit: Annotated[int | None, typer.Option(help="The first so many texts.")] = None,
    out: Annotated[Path | None, typer.Option(help="A comparison's folder, whose report is to show the result.")] = None,
) -> None:
    """Measure judges on scored texts: Spearman's ρ, and the AUC for a score of at least ½.

    Example: trimtab evaluate judges --data rtp.jsonl --text-column continuation --column continuation_toxicity
    --judge profanity --out runs/toxicity
    """
    from rich.console import Console
    from rich.table import Table

    from trimtab.evaluation.judge_quality import keep_seen, measure_judges
    from trimtab.evaluation.judges import load_judge
    from trimtab.evaluation.tasks import find_task
    from trimtab.training.data import read_labelled

    about = find_task(task)
    rows = read_labelled(data, [column], text_column, split).rows[:limit]
    found = measure_judges([load_judge(spec, about) for spec in judge], rows)
    table = Table("judge", "Spearman", "AUC at ½", "accuracy", "texts", "failed")
    for name, of in found.items():
        figures = (f"{of[figure]:.3f}" for figure in ("spearman", "auc", "accuracy"))
        table.add_row(name, *figures, str(of["texts"]), str(of["failed"]))
    Console().print(table)
    if out:
        keep_seen(out, f"{Path(data).name.partition('.')[0]} ({column})", found)


def both_ways(up: list[str] | None, down: list[str] | None) -> "list[tuple[str, Direction]]":
    """The prompt sets with their directions."""
    sources: list[tuple[str, Direction]] = [(source, "up") for source in up or []]
    sources += [(source, "down") for source in down or []]
    if not sources:
        raise InvalidSetting("got no prompts, expected --up or --down with a table or a Hub data set")
    return sources
