"""The consoles, texts, JSON, faults and a spinner for terminals, and the colour of a number. Rich is imported late."""

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import typer

from trimtab.data.json_text import dump_json
from trimtab.data.visible import count_of, legible, legible_json

if TYPE_CHECKING:
    from rich.console import Console

    from trimtab.jobs import NumberedPrompt

__all__ = [
    "colour",
    "error_console",
    "first_faults",
    "legible",
    "loading",
    "output_console",
    "print_json",
    "print_prompt",
    "print_text",
    "report_faults",
    "shown_prompt",
]

SHOWN_FAULTS = 5


def output_console() -> "Console":
    """Return the stdout console, for results."""
    from rich.console import Console

    return Console(highlight=False, emoji=False)


def error_console(quiet: bool = False) -> "Console":
    """Return the stderr console, for progress, warnings and measurements; with `quiet`, it prints nothing."""
    from rich.console import Console

    return Console(stderr=True, quiet=quiet, highlight=False, emoji=False)


def print_text(console: "Console", text: str, style: str = "", end: str = "\n") -> None:
    """Print a text as it is, tabs and long lines included. Characters that a terminal acts on are named."""
    from rich.segment import Segment, Segments

    console.print(Segments([Segment(legible(text), console.get_style(style)), Segment(end)]), soft_wrap=True)


def print_prompt(console: "Console", prompt: "NumberedPrompt") -> None:
    """Print a prompt, dimmed."""
    print_text(console, shown_prompt(prompt), "dim", end="")


def shown_prompt(prompt: "NumberedPrompt") -> str:
    """Return a prompt as it stands before its text; the text of a conversation stands on a line of its own."""
    end = "" if isinstance(prompt.prompt, str) else "\n"
    return f"{prompt.given['prompt']}{end}"


@contextmanager
def loading(what: str) -> Iterator[None]:
    """Show a spinner and "Loading …" on stderr while something loads; no spinner where stderr is no terminal.

    Garbage collection waits meanwhile: importing torch and transformers makes millions of objects and drops few, and
    is a fifth faster without it.
    """
    with spinner(f"Loading {legible(what, keep='')} …"), no_collection():
        yield


@contextmanager
def resumable() -> Iterator[None]:
    """Say how a run goes on, if it is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        error_console().print("Give the same command again to go on.")
        raise


def spinner(text: str) -> AbstractContextManager[object]:
    """Return a spinner on stderr; nothing to see where stderr is no terminal."""
    console = error_console() if sys.stderr.isatty() else None
    if console is None or not console.is_interactive:
        return nullcontext()
    from rich.text import Text

    return console.status(Text(text))


@contextmanager
def no_collection() -> Iterator[None]:
    """Pause garbage collection, and leave what was made meanwhile out of later collections."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.freeze()
            gc.enable()


def print_json(value: Any) -> None:
    """Print a value as one line of JSON. Characters that a terminal acts on are escapes in it."""
    typer.echo(legible_json(dump_json(value)))


def report_faults(name: str, faults: Sequence[str]) -> None:
    """Print on stderr how many rows of a table are skipped, and why the first ones are; nothing if none is."""
    if faults:
        message = f"{name}: {count_of(len(faults), 'row')} skipped: {first_faults(faults)}"
        error_console().print(legible(message, keep=""), style="yellow", markup=False, soft_wrap=True)


def first_faults(faults: Sequence[str]) -> str:
    """Return the first faults on one line."""
    return "; ".join(faults[:SHOWN_FAULTS]) + ("; …" if len(faults) > SHOWN_FAULTS else "")


def colour(reward: float) -> str:
    """Return a hex colour: red at 0, yellow at ½, green at 1. Rewards outside [0, 1] get the nearer end's colour."""
    share = min(max(reward, 0.0), 1.0)
    red, green = min(1.0, 2 * (1 - share)), min(1.0, 2 * share)
    return f"#{int(100 + 155 * red):02x}{int(100 + 155 * green):02x}64"
