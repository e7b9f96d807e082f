"""Names for files, and folders that appear complete or not at all."""

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
    """A temporary folder beside `folder`, renamed to it when the block ends well, removed when it does not.

    Without `replace`, a folder that another process finished first is kept: its content is as good.
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
    """A text as the name of a file: what could mean something to a file system becomes a hyphen."""
    return re.sub(r"[^\w.+=-]+", "-", text).strip("-.")


def read_record(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no such file.

    Raises:
        InvalidData: it is damaged.
    """
    if not path.exists():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidData(f"cannot read {str(path)!r} ({error}); remove it, and it is made again") from error
    if not isinstance(record, dict):
        raise InvalidData(f"got {type(record).__name__} in {str(path)!r}, expected an object; remove the file")
    return record
