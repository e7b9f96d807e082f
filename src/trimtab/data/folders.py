"""Folders that appear complete or not at all."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from trimtab.data.outputs import partial_path, remove_stale_partials, stale_partials


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
    old = partial_path(folder, "replaced")
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
    """Put back the newest folder that a killed process had moved aside, and remove older ones."""
    aside = stale_partials(folder, "replaced")
    if aside and not folder.exists():
        max(aside, key=lambda path: path.stat().st_mtime).rename(folder)
    remove_stale_partials(folder, "replaced")
