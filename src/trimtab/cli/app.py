"""The `trimtab` command and its entry point."""

import sys
from typing import Annotated

import typer

import trimtab
from trimtab.cli import evaluate, generate, imports, rewards, rewind, score, spectrum, train
from trimtab.cli.help import CommandGroup, hide_flag_types
from trimtab.errors import TrimtabError

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("generate")(generate.generate)
app.command("score")(score.score)
app.add_typer(rewind.app, name="rewind")
app.add_typer(rewards.app, name="rewards", cls=CommandGroup)
app.add_typer(train.app, name="train", cls=CommandGroup)
app.add_typer(evaluate.app, name="evaluate", cls=CommandGroup)
app.command("spectrum")(spectrum.spectrum)
app.add_typer(imports.app, name="import", cls=CommandGroup)
hide_flag_types(app)


def print_version(asked: bool) -> bool:
    """Print the version and exit, if asked to."""
    if asked:
        typer.echo(f"trimtab {trimtab.__version__}")
        raise typer.Exit
    return asked


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Steer frozen language models while they write.

    Example: trimtab generate "My first day at work was" --steer sentiment=+20 --show-rewards
    """


def main() -> None:
    """Run the command. A TrimtabError or an OSError becomes one line on stderr and exit status 1."""
    try:
        app()
    except (TrimtabError, OSError) as error:
        print(f"trimtab: {error}", file=sys.stderr)
        sys.exit(1)
