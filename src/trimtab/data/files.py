"""Folders that appear complete or not at all, safe file names, and JSON objects in files."""

import contextlib
import errno
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trimtab.data.hub import reason_of
from trimtab.data.json_text import parse_json
from trimtab.data.outputs import partial_path, remove_stale_partials
from trimtab.errors import InvalidData

PATH_WIDTH = 150  # characters of a path in a message
FULL = "the disk is full"
SAYS_FULL = ("No space left", "os error 28", "Disk quota exceeded")  # of errors without a number


@contextlib.contextmanager
def whole_folder(folder: Path, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes `folder` when the block succeeds and is removed when the block fails.

    What a killed process left beside `folder` is removed first. If it was killed while it replaced the folder, the old
    one is put back.

    Args:
        folder: the folder to write; symbolic links are followed.
        replace: replace an existing folder. Otherwise an existing folder is kept, for example one that another process
            finished first.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    _restore(folder)
    remove_stale_partials(folder)
    partial = partial_path(folder)
    shutil.rmtree(partial, ignore_errors=True)  # of an earlier process with this number
    partial.mkdir()
    try:
        yield partial
        if replace and folder.exists():
            _replace(folder, partial)
        elif not folder.exists():
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _replace(folder: Path, partial: Path) -> None:
    """Put a folder in the place of another, which is removed last."""
    old = partial_path(_replaced(folder))
    try:
        folder.rename(old)
        partial.rename(folder)
    except OSError:
        if not folder.exists():
            old.rename(folder)
        raise
    finally:
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)


def _restore(folder: Path) -> None:
    """Put back a folder that a killed process had moved aside, and remove older ones."""
    start, _, _ = partial_path(_replaced(folder)).name.removesuffix(".partial").rpartition(".")
    aside = [path for path in folder.parent.iterdir() if path.name.startswith(f"{start}.") and path.is_dir()]
    if aside and not folder.exists():
        max(aside, key=lambda path: path.stat().st_mtime).rename(folder)
    if aside:
        remove_stale_partials(_replaced(folder))


def _replaced(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.replaced")


def why_not_written(error: Exception) -> str:
    """Return why a file cannot be written, in a few words and without its path."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FULL
    if any(sign in str(error) for sign in SAYS_FULL):
        return FULL
    return (isinstance(error, OSError) and error.strerror) or reason_of(error)


def file_name(text: str) -> str:
    """Return a text as a file name: runs of characters that a file system may not accept become a hyphen."""
    return re.sub(r"[^\w.+=-]+", "-", text).strip("-.")


def shown_path(path: str | Path) -> str:
    """Return a path, or a name that may be one, as messages show it: quoted, and of a long one the end."""
    text = repr(str(path))
    return text if len(text) <= PATH_WIDTH else f"{text[0]}…{text[-PATH_WIDTH:]}"


def read_record(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; an empty one if there is no such file.

    Raises:
        InvalidData: the file does not hold a JSON object.
    """
    if not path.exists():
        return {}
    try:
        record = parse_json(path.read_text(encoding="utf-8"))
    except (InvalidData, OSError, ValueError) as error:
        raise InvalidData(f"cannot read {str(path)!r} ({error}); remove the file, and it is written again") from error
    if not isinstance(record, dict):
        raise InvalidData(f"got {type(record).__name__} in {str(path)!r}, expected an object; remove the file")
    return record
