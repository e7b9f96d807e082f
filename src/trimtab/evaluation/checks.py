"""Inputs and outputs of evaluation: counts and folders are checked before any work, files are written whole."""

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from trimtab.data.outputs import lock_path, write_whole
from trimtab.errors import InvalidOutput, InvalidSetting


def check_at_least(least: int, **values: int | None) -> None:
    """Check whole numbers; None stands for no number.

    Raises:
        InvalidSetting: one is below `least`; the message names it.
    """
    for name, value in values.items():
        if value is not None and value < least:
            raise InvalidSetting(f"got {name}={value}, expected at least {least}")


def check_different(what: str, names: Sequence[str]) -> None:
    """Check that no name is there twice.

    Raises:
        InvalidSetting: one is.
    """
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise InvalidSetting(f"got the {what} {twice[0]!r} twice, expected different names")


def check_files(folder: Path, names: Collection[str], option: str, ours: bool) -> None:
    """Check the files that a command will write into a folder.

    Args:
        folder: the folder.
        names: the names of the files.
        option: the option that names the folder, for messages.
        ours: existing files may be replaced, because trimtab wrote them or the user said so.

    Raises:
        InvalidOutput: a file exists and is not ours, or is not a regular file.
    """
    for path in (folder / name for name in sorted(names)):
        if os.path.lexists(path) and not path.is_file():
            raise InvalidOutput(f"got {option} {str(folder)!r}, where {path.name!r} is not a regular file")
        if path.exists() and not ours:
            raise InvalidOutput(
                f"got {option} {str(folder)!r}, where {path.name!r} was not written by this command; "
                "choose another folder, or add --force"
            )


def write_in(folder: Path, name: str, content: str | bytes) -> Path:
    """Write a file of a folder whole; a symbolic link is followed. Returns its path in the folder."""
    write_whole((folder / name).resolve(), content)
    return folder / name


@contextmanager
def holding(folder: Path, name: str) -> Iterator[None]:
    """Hold a file of a folder while it is read, changed and written; another process waits. The folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(lock_path(folder / name)):
        yield


def check_template(template: str) -> None:
    """Check the text of a prompt and an answer.

    Raises:
        InvalidSetting: it lacks the place {answer}, or has others than {prompt} and {answer}.
    """
    try:
        shown = template.format(prompt="\0prompt", answer="\0answer")
    except (LookupError, ValueError, AttributeError) as error:
        raise InvalidSetting(
            f"got the template {template!r}, expected the places {{prompt}} and {{answer}}; write other braces twice"
        ) from error
    if "\0answer" not in shown:
        raise InvalidSetting(f'got the template {template!r}, expected "{{answer}}" in it, and usually "{{prompt}}"')
