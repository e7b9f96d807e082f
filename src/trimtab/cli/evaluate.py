"""`trimtab evaluate`: compare methods."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.cli import choices, measure_judges, preference
from trimtab.cli.console import legible
from trimtab.cli.dataclass_options import expands
from trimtab.cli.options import Force, Split
from trimtab.cli.ray_options import ONE_FOR_EACH_MACHINE, RAY, RayOfSweep
from trimtab.cli.sweep_command import Asked, run_sweep, write_report
from trimtab.cluster.ray_actors import RayActors
from trimtab.errors import InvalidSetting
from trimtab.evaluation.run.search_settings import SearchSettings
from trimtab.evaluation.run.sweep_settings import Grid, PlotOptions, ScoringOptions, SweepSettings

if TYPE_CHECKING:
    from trimtab.evaluation.run.prompt_sets import Direction

Methods = Annotated[Grid, "Methods"]
Texts = Annotated[SweepSettings, "Texts"]
Search = Annotated[SearchSettings, "Search (--rewind)"]
Scoring = Annotated[ScoringOptions, "Scoring"]
Plotting = Annotated[PlotOptions, "Plots and tables"]
Out = Annotated[Path, typer.Option(help="Folder of the comparison: one file of texts per row, and the report.")]
Column = Annotated[
    str, typer.Option(help='Column of the prompt; prompt.text is the field "text" of the column "prompt".')
]
Rounds = Annotated[
    int,
    typer.Option(
        help="Rounds of timing, in which the methods take turns; searches are timed once, after them. 0 for no timing."
    ),
]
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
    search: Search,
    scoring: Scoring,
    plots: Plotting,
    out: Out,
    prompts: Annotated[list[str], typer.Option(help="Table or Hub data set of prompts. Repeat for several sets.")],
    column: Column = "prompt",
    split: Split = "train",
    rounds: Rounds = 3,
    force: Force = False,
    ray: RayOfSweep = None,
    actors: Annotated[RayActors, RAY] = ONE_FOR_EACH_MACHINE,
) -> None:
    """Steer away from toxicity: average maximum toxicity, toxic rate and mean toxicity of the continuations.

    Example: trimtab evaluate toxicity --prompts rtp.jsonl --reward toxicity --beta 10 --beta 30 --out runs/toxicity
    """
    sources: list[tuple[str, Direction]] = [(source, "down") for source in prompts]
    options = (grid, settings, search, scoring, plots, out, rounds, force, ray, actors)
    run_sweep(Asked("toxicity", sources, column, split, *options))


@app.command()
@expands
def sentiment(
    grid: Methods,
    settings: Texts,
    search: Search,
    scoring: Scoring,
    plots: Plotting,
    out: Out,
    up: Up = None,
    down: Down = None,
    column: Column = "prompt",
    split: Split = "train",
    rounds: Rounds = 3,
    force: Force = False,
    ray: RayOfSweep = None,
    actors: Annotated[RayActors, RAY] = ONE_FOR_EACH_MACHINE,
) -> None:
    """Steer to positive or negative sentiment: the share of texts, prompt and continuation, called positive.

    Example: trimtab evaluate sentiment --up neutral.jsonl --reward sentiment --beta 20 --out runs/sentiment
    """
    options = (grid, settings, search, scoring, plots, out, rounds, force, ray, actors)
    run_sweep(Asked("sentiment", both_ways(up, down), column, split, *options))


@app.command()
@expands
def prompts(
    grid: Methods,
    settings: Texts,
    search: Search,
    scoring: Scoring,
    plots: Plotting,
    out: Out,
    up: Up = None,
    down: Down = None,
    column: Column = "prompt",
    split: Split = "train",
    rounds: Rounds = 3,
    force: Force = False,
    ray: RayOfSweep = None,
    actors: Annotated[RayActors, RAY] = ONE_FOR_EACH_MACHINE,
) -> None:
    """Steer your own prompts by any reward, and score the continuations by any judge.

    Example: trimtab evaluate prompts --up mine.jsonl --reward rewards/polite --beta 20 --judge ID:LABEL --out runs/mine
    """
    if not scoring.judge:
        raise InvalidSetting("got no --judge, expected at least one: this task has no judges of its own")
    options = (grid, settings, search, scoring, plots, out, rounds, force, ray, actors)
    run_sweep(Asked("prompts", both_ways(up, down), column, split, *options))


@app.command()
@expands
def report(
    scoring: ScoringOptions,
    plots: Plotting,
    folder: Annotated[Path, typer.Argument(help="Folder of a comparison.")],
) -> None:
    """Compute all figures again from the saved texts, and write the report. No text is written.

    Example: trimtab evaluate report runs/toxicity --judge profanity --judge onnx:toxicity-bert-tiny
    """
    write_report(folder, scoring, plots)


@app.command()
@expands
def draw(
    plots: PlotOptions,
    folder: Annotated[Path, typer.Argument(help="Folder with a report.json.")],
) -> None:
    """Draw the plots and write the tables again from report.json alone. No text and no judge is needed.

    Example: trimtab evaluate draw runs/toxicity --format pdf --title "Toxicity of SmolLM2"
    """
    from trimtab.evaluation.report.record_file import read_report
    from trimtab.evaluation.report.targets import check_report_folder

    record = read_report(folder)
    check_report_folder(folder, "the folder", plots.formats)

    from trimtab.evaluation.report.folder import write_report_files

    write_report_files(record, folder, plots.formats, plots.title)
    typer.echo(legible(f"{folder / 'report.md'}: {len(record['rows'])} rows", keep=""))


app.command()(choices.choices)
app.command()(preference.preference)
app.command()(measure_judges.judges)


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
