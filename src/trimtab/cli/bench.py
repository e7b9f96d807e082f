"""`trimtab bench`: measure the time and memory of a token, plain and steered; `bench serve` measures the server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.benchmark.bench_settings import BenchSettings
from trimtab.cli.bench_serve import serve
from trimtab.cli.console import error_console, legible, loading, output_console
from trimtab.cli.dataclass_options import expands
from trimtab.cli.help import DefaultCommandGroup
from trimtab.cli.options import DtypeOption, Force, Model
from trimtab.data.files import shown_path
from trimtab.errors import InvalidData, InvalidOutput, InvalidSetting

if TYPE_CHECKING:
    from rich.table import Table

    from trimtab.benchmark.run import Progress
    from trimtab.benchmark.tables import Column

INTERRUPTED = 130
SUFFIX = ".json"
WIDE = 132  # columns of a terminal that shows a whole table
TOKENS = "tokens"


class TokensByDefault(DefaultCommandGroup):
    """`trimtab bench --quick` is `trimtab bench tokens --quick`."""

    default = TOKENS


app = typer.Typer(cls=TokensByDefault)


@app.callback()
def group() -> None:
    """Measure the time of a token, plain and steered, and what the server adds."""


app.command("serve")(serve)


@app.command(TOKENS, epilog="What does the server add? trimtab bench serve --help")
@expands
def tokens(
    settings: Annotated[BenchSettings, "Measurements"],
    model: Model = "smollm2",
    shapes: Annotated[
        str | None,
        typer.Option(help="Measure random weights of these shapes instead of --model: gpt2-large, llama-7b or tiny."),
    ] = None,
    dtype: DtypeOption = "auto",
    device: Annotated[
        str | None, typer.Option(help="Device of the model, such as cpu or cuda. Default: the GPU if there is one.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the record to this .json file, and the tables beside it as .md. Default: print only."),
    ] = None,
    force: Force = False,
) -> None:
    """Time transformers' generate, the plain loop and every way to steer it, and judge the goals.

    The rows take turns; ratios are medians of paired runs. Ctrl-C prints what was measured, and writes no file.

    Example: trimtab bench --quick

    Example: trimtab bench --rows own --rows arm --batch 8 --out bench.json
    """
    check_names(shapes=shapes, device=device)
    target = check_target(out, force)
    with loading(shapes or model):
        from trimtab.benchmark.run import measure, prepare
        from trimtab.benchmark.subject import SubjectSpec

        spec = SubjectSpec(model, shapes, dtype, device)
        subject, found = prepare(spec, settings)
    with progress() as moved:
        measure(subject, spec, settings, found, moved)

    from trimtab.benchmark.record import record_of

    record = record_of(found)
    show(record)
    if found.interrupted:
        raise typer.Exit(INTERRUPTED)
    if target is not None:
        write(record, target)


def check_names(**names: str | None) -> None:
    """Check that an option that names something is not empty.

    Raises:
        InvalidSetting: it is.
    """
    for option, name in names.items():
        if name == "":
            raise InvalidSetting(f"got an empty --{option}, expected a name, or no such option")


def check_target(out: Path | None, force: bool) -> Path | None:
    """The record's path, if it and the file beside it can be written. Only a benchmark's own files are replaced.

    Raises:
        InvalidOutput: they cannot.
    """
    if out is None:
        return None
    from trimtab.data.outputs import check_output

    if out.suffix != SUFFIX:
        raise InvalidOutput(f"got --out {shown_path(out)}, expected a name that ends in {SUFFIX}")
    replace = force or is_record(out)
    check_output(out.with_suffix(".md"), "--out", replace=replace)
    return check_output(out, "--out", replace=replace)


def is_record(path: Path) -> bool:
    """Whether a file is the record of a benchmark."""
    from trimtab.benchmark.rows import MADE_BY
    from trimtab.data.json_text import parse_json

    try:
        found = parse_json(path.read_bytes()) if path.is_file() else None  # a pipe would wait for a writer
    except (InvalidData, OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("made_by") == MADE_BY


@contextmanager
def progress() -> "Iterator[Progress]":
    """Show a bar with an estimate of the time left; yields a function of the work done and all work."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=error_console(), speed_estimate_period=600) as shown:
        task = shown.add_task("first runs", total=None)
        yield lambda name, done, total: shown.update(task, description=name, completed=done, total=total)


def show(record: dict[str, Any]) -> None:
    """Print the tables, the goals and the machine."""
    from trimtab.benchmark.tables import left_out, machine_lines, table_title

    console = output_console()
    for table in record["tables"]:
        console.print()
        console.print(table_title(table), style="bold", markup=False)
        for columns in column_groups(record, console.width):
            console.print(row_table(table, record, columns))
        for line in left_out(table):
            console.print(f"left out: {line}", style="dim", markup=False)
    console.print()
    console.print(goal_table(record))
    console.print()
    for line in machine_lines(record):
        console.print(legible(line), markup=False)


def column_groups(record: dict[str, Any], width: int) -> "list[list[Column]]":
    """The columns of a table: all together, or on a narrow terminal the parts of a step below the times."""
    from trimtab.benchmark.tables import PARTS, columns

    every = columns(record)
    if width >= WIDE:
        return [every]
    parts = [column for column in every if column[0] in PARTS.values()]
    return [[column for column in every if column not in parts], parts]


def row_table(table: dict[str, Any], record: dict[str, Any], columns: "list[Column]") -> "Table":
    """The rows of a table."""
    from rich.table import Table

    from trimtab.benchmark.tables import row_title

    shown = Table(box=None, pad_edge=False)
    shown.add_column("")
    for title, _ in columns:
        shown.add_column(title, justify="right")
    for row in table["rows"]:
        shown.add_row(row_title(row, record), *(read(row) for _, read in columns))
    return shown


def goal_table(record: dict[str, Any]) -> "Table":
    """The goals with their verdicts."""
    from rich.table import Table
    from rich.text import Text

    from trimtab.benchmark.tables import GOAL_HEADS, goal_cells

    colours = {"met": "green", "missed": "red", "not measured": "dim"}
    shown = Table(*GOAL_HEADS, box=None, pad_edge=False)
    for goal in record["goals"]:
        *cells, verdict = goal_cells(goal)
        shown.add_row(*cells, Text(verdict, style=colours[verdict]))
    return shown


def write(record: dict[str, Any], target: Path) -> None:
    """Write the record, and the tables beside it."""
    from trimtab.benchmark.markdown import markdown
    from trimtab.data.json_text import dump_json
    from trimtab.data.outputs import write_whole

    tables = target.with_suffix(".md")
    write_whole(target, dump_json(record, indent=1) + "\n")
    write_whole(tables, markdown(record))
    typer.echo(legible(f"wrote {target} and {tables.name}", keep=""))
