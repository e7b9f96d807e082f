"""The option --threads, which every command has."""

import os
import sys
from functools import cache
from typing import Annotated, Any

import typer

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # read when the libraries are imported


@cache
def threads_option() -> Any:
    """Return the option; it takes effect before a command starts, and the command does not receive it."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def template(
        threads: Annotated[
            int | None,
            typer.Option(
                min=1,
                expose_value=False,
                callback=limit_threads,
                help="CPU threads to compute with. Default: torch's own choice.",
            ),
        ] = None,
    ) -> None:
        """Hold the option."""

    return next(each for each in typer.main.get_command(app).params if each.name == "threads")


def limit_threads(threads: int | None) -> int | None:
    """Limit the threads of torch: through the environment, which spares its import where it is not needed."""
    if threads is None:
        return None
    os.environ |= dict.fromkeys(VARIABLES, str(threads))
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)
    return threads
