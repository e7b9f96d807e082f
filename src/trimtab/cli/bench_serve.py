"""`trimtab bench serve`: measure what the server adds to the library."""

from pathlib import Path
from typing import Annotated, Any

import typer

from trimtab.cli.console import error_console, loading, output_console
from trimtab.cli.dataclass_options import expands
from trimtab.cli.options import DtypeOption, Force, Model, load_language_model
from trimtab.cli.serve import check_extra, check_rewards
from trimtab.server.load_settings import LoadSettings
from trimtab.server.public_names import check_places, parse_places


@expands
def serve(
    settings: Annotated[LoadSettings, "Measurements"],
    model: Model = "smollm2",
    dtype: DtypeOption = "auto",
    out: Annotated[Path | None, typer.Option(help="Write the record to this .json file. Default: print only.")] = None,
    force: Force = False,
) -> None:
    """Send requests at once to a server, and compare with the library, which writes the same texts in one batch.

    Clients in a process of their own time the first token and the tokens behind it.

    Example: trimtab bench serve --rows 32 --tokens 40 --out serve.json
    """
    check_extra()
    target = None
    if out is not None:
        from trimtab.data.outputs import check_output

        target = check_output(out, "--out", replace=force)
    places = parse_places([settings.reward]) if settings.reward else []
    check_places(places)
    check_rewards(model, places)
    lm = load_language_model(model, dtype)
    with loading("the server"):
        from trimtab.cli.progress import counting
        from trimtab.server.load import measure_server
        from trimtab.server.loading import load_registered

        registered = next(iter(load_registered(places, lm.base)), None)
    with counting("rounds", error_console()) as progress:
        record = measure_server(lm, registered, settings, progress)
    show(record)
    if target is not None:
        from trimtab.data.json_text import dump_json
        from trimtab.data.outputs import write_whole

        write_whole(target, dump_json(record, indent=1) + "\n")


def show(record: dict[str, Any]) -> None:
    """Print the figures, and the verdict."""
    from rich.table import Table

    from trimtab.server.load import LEAST_SHARE

    shown = Table(box=None, pad_edge=False, show_header=False)
    for clock, name in (("wall", "wall-clock time"), ("cpu", "CPU time")):
        share = record["throughput"][clock]
        figures = f"{share['median']:.2f}× ({share['low']:.2f}–{share['high']:.2f})"
        shown.add_row(f"throughput, server over library, in {name}", figures)
    for key, name in (("first_token", "first token"), ("per_token", "each further token")):
        spread = record[key]
        shown.add_row(name, f"{spread['median'] * 1000:.0f} ms, 95th percentile {spread['p95'] * 1000:.0f} ms")
    met = record["throughput"]["wall"]["median"] >= LEAST_SHARE
    shown.add_row(f"goal: at least {LEAST_SHARE}× in wall-clock time", "met" if met else "missed")
    console = output_console()
    about = record["about"]
    console.print(shown)
    console.print(
        f"{record['rows']} requests at once, {record['tokens']} tokens each, {record['repeats']} rounds; "
        f"{about['model']} in {about['dtype']} on {about['device']}; {about['processor']}",
        markup=False,
    )
