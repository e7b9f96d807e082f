"""The `trimtab` command and its entry point."""

import errno
import gc
import sys
import warnings
from io import TextIOWrapper
from typing import Annotated, Any, cast

import typer

import trimtab
from trimtab.cli import (
    adapt,
    bench,
    calibrate_reward,
    evaluate,
    generate,
    imports,
    replay,
    rewards,
    rewind,
    score,
    serve,
    share_reward,
    spectrum,
    train,
)
from trimtab.cli.help import CommandGroup, hide_flag_types
from trimtab.data.visible import legible
from trimtab.errors import TrimtabError, out_of_memory
from trimtab.rewards.card import UncheckedReward

FEW_COLLECTIONS = 100_000  # new objects before garbage is looked for: torch and transformers make a million, all kept
INTERRUPTED = 130  # the exit status of a command that Ctrl-C ended
FREE_SPACE = "; free some space and run the same command again"
ADVICE = {
    errno.ENOSPC: FREE_SPACE,
    errno.EDQUOT: FREE_SPACE,
    errno.EFBIG: "; raise the limit of the size of a file, as `ulimit -f` shows it, or choose another disk",
}

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("generate")(generate.generate)
app.command("score")(score.score)
app.command("serve")(serve.serve)
app.command("replay")(replay.replay)
app.add_typer(rewind.app, name="rewind")
rewards.app.command("calibrate")(calibrate_reward.calibrate)
rewards.app.command("push")(share_reward.push)
rewards.app.command("pull")(share_reward.pull)
app.add_typer(rewards.app, name="rewards", cls=CommandGroup)
app.add_typer(train.app, name="train", cls=CommandGroup)
app.command("adapt")(adapt.adapt)
app.add_typer(evaluate.app, name="evaluate", cls=CommandGroup)
app.command("spectrum")(spectrum.spectrum)
app.add_typer(bench.app, name="bench")
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
    """Run the command. A fault that is not a bug becomes one line on stderr and exit status 1."""
    gc.set_threshold(FEW_COLLECTIONS)
    warnings.showwarning = cast(Any, show_warning)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8 shows escapes
    try:
        app()
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            report("interrupted")
        raise
    except (TrimtabError, OSError, MemoryError, RuntimeError) as error:
        if (message := explain(error)) is None:
            raise
        report(message)
        sys.exit(1)


def explain(error: Exception) -> str | None:
    """Return what a fault means for the user; None if it is a bug."""
    if isinstance(error, TrimtabError):
        return str(error)
    if isinstance(error, OSError):
        place = f": {str(error.filename)!r}" if error.filename else ""
        return f"{error.strerror or error}{place}{ADVICE.get(error.errno or 0, '')}"
    if out_of_memory(error):
        return "not enough memory; use a smaller model, --batch-size or number of samples"
    return None


def show_warning(message: Warning | str, category: type[Warning], *place: object) -> None:
    """Print a warning of ours as one line, and others not at all: they are for developers."""
    if category is UncheckedReward:
        report(f"warning: {message}")


def report(message: str) -> None:
    """Print one line on stderr; characters that a terminal acts on are named."""
    print(f"trimtab: {legible(' '.join(message.split(chr(10))), keep='')}", file=sys.stderr)
