"""Names for files, and folders that appear complete or not at all."""

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


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
