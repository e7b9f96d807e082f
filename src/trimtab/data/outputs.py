"""Output files: checked before any work, then written whole. Devices, folders and inputs are never replaced."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from trimtab.errors import InvalidOutput

NEW_FILE_MODE = 0o644


def check_output(path: Path, option: str, inputs: Iterable[Path] = (), replace: bool = False) -> Path:
    """Return the file that an output path means, symbolic links followed, if it can be written.

    Args:
        path: as the user gave it.
        option: its name, for messages, such as "--html".
        inputs: files that the same command reads.
        replace: whether an existing file may be replaced.

    Raises:
        InvalidOutput: it is no regular file, it is one of the inputs, it exists and may not be replaced, or its folder
            cannot be written.
    """
    try:
        real = path.resolve()
        exists, regular = os.path.lexists(real), real.is_file()
        is_input = exists and any(each.exists() and real.samefile(each) for each in inputs)
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name that is too long, a null character
        raise InvalidOutput(f"got {option} {str(path)!r}, expected a path that can be written ({error})") from error
    if exists and not regular:
        raise InvalidOutput(f"got {option} {str(path)!r}, expected a regular file; it is {_kind(real)}")
    if is_input:
        raise InvalidOutput(f"got {option} {str(path)!r}, expected another file than the input: it would be replaced")
    if exists and not replace:
        raise InvalidOutput(f"got {option} {str(path)!r}, which exists; choose another path, or add --force")
    check_parent(real, path, option)
    return real


def check_parent(real: Path, path: Path, option: str) -> None:
    """Check that a path's folder can be written, or made.

    Raises:
        InvalidOutput: it cannot.
    """
    folder = next(parent for parent in real.parents if os.path.lexists(parent))
    if not folder.is_dir():
        raise InvalidOutput(f"got {option} {str(path)!r}, expected a path in a folder; {str(folder)!r} is a file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InvalidOutput(f"got {option} {str(path)!r}, expected a folder that may be written: {str(folder)!r}")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file beside its place and rename it, so that it is old or new and never half. Folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else NEW_FILE_MODE
    handle, partial = tempfile.mkstemp(prefix=f".{path.name[:40]}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, mode)
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def _kind(path: Path) -> str:
    tests = {"a folder": path.is_dir, "a pipe": path.is_fifo, "a socket": path.is_socket}
    return next((name for name, is_kind in tests.items() if is_kind()), "a device")
