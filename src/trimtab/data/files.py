"""Folders that appear complete or not at all, safe file names, and JSON objects in files."""

import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trimtab.errors import InvalidData


@contextlib.contextmanager
def whole_folder(folder: Path, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes `folder` when the block succeeds and is removed when the block fails.

    Args:
        folder: the folder to write.
        replace: replace an existing folder. Otherwise an existing folder is kept, for example one that another process
            finished first.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    partial.chmod(0o755)
    try:
        yield partial
        if replace:
            shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def file_name(text: str) -> str:
    """Return a text as a file name: runs of characters that a file system may not accept become a hyphen."""
    return re.sub(r"[^\w.+=-]+", "-", text).strip("-.")


def read_record(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; an empty one if there is no such file.

    Raises:
        InvalidData: the file does not hold a JSON object.
    """
    if not path.exists():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidData(f"cannot read {str(path)!r} ({error}); remove the file, and it is written again") from error
    if not isinstance(record, dict):
        raise InvalidData(f"got {type(record).__name__} in {str(path)!r}, expected an object; remove the file")
    return record
