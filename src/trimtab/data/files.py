"""Names of files, reasons why they cannot be written, and JSON objects in files."""

import errno
import re
from pathlib import Path
from typing import Any

from trimtab.data.hub import reason_of
from trimtab.data.json_text import parse_json
from trimtab.errors import InvalidData

PATH_WIDTH = 150  # characters of a path in a message
FULL = "the disk is full"
SAYS_FULL = ("No space left", "os error 28", "Disk quota exceeded")  # of errors without a number


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


WRITTEN_AGAIN = "remove the file, and it is written again"


def read_record(path: Path, nan_is_null: bool = False, advice: str = WRITTEN_AGAIN) -> dict[str, Any]:
    """Return the object in a JSON file; an empty one if there is no such file.

    Args:
        path: the file.
        nan_is_null: read NaN as null: earlier versions wrote it, and JSON does not have it.
        advice: what to do with a file that cannot be read.

    Raises:
        InvalidData: the file does not hold a JSON object.
    """
    if not path.exists():
        return {}
    try:
        record = parse_json(path.read_text(encoding="utf-8"), nan_is_null)
    except (InvalidData, OSError, ValueError) as error:
        raise InvalidData(f"cannot read {str(path)!r} ({error}); {advice}") from error
    if not isinstance(record, dict):
        raise InvalidData(f"got {type(record).__name__} in {str(path)!r}, expected an object; {advice}")
    return record
