"""The `trimtab` command and its entry point."""

import sys

import typer

from trimtab.cli import evaluate, generate, imports, rewards, rewind, score, spectrum, train
from trimtab.errors import TrimtabError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Steer frozen language models while they write. Start with: "
    'trimtab generate "The new neighbours are" --steer sentiment=+20 --show-rewards',
)
app.command("generate")(generate.generate)
app.command("score")(score.score)
app.add_typer(rewind.app, name="rewind")
app.add_typer(rewards.app, name="rewards")
app.add_typer(train.app, name="train")
app.add_typer(evaluate.app, name="evaluate")
app.command("spectrum")(spectrum.spectrum)
app.add_typer(imports.app, name="import")


def main() -> None:
    """Run the command; what trimtab raises on purpose, or the system on files, becomes one line and exit status 1."""
    try:
        app()
    except (TrimtabError, OSError) as error:
        print(f"trimtab: {error}", file=sys.stderr)
        sys.exit(1)
