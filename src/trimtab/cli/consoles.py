"""Where what is not the result is printed."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def error_console() -> "Console":
    """The standard error: progress, warnings and figures."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)
