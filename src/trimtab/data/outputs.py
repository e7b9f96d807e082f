"""Output files: checked before any work, then written whole. Devices, folders and inputs are never replaced."""

import os
import platform
import re
import shutil
import threading
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
    remove_stale_partials(path)
    mode = path.stat().st_mode & 0o777 if path.exists() else NEW_FILE_MODE
    partial = partial_path(path)
    try:
        with partial.open("wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(mode)
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)
        raise


def partial_path(path: Path) -> Path:
    """Return where this thread writes a file or a folder before it is renamed: hidden, beside its place."""
    return path.with_name(f"{_partial_prefix(path)}{os.getpid()}-{threading.get_native_id()}.partial")


def remove_stale_partials(path: Path) -> None:
    """Remove what killed processes of this machine left when they wrote a file or a folder."""
    pattern = re.compile(re.escape(_partial_prefix(path)) + r"(\d+)-\d+\.partial")
    for found in path.parent.iterdir():
        match = pattern.fullmatch(found.name)
        if match and not _is_running(int(match[1])):
            shutil.rmtree(found, ignore_errors=True) if found.is_dir() else found.unlink(missing_ok=True)


def _partial_prefix(path: Path) -> str:
    machine = re.sub(r"[^\w-]", "", platform.node())[:20]
    return f".{path.name[:40]}.{machine}."


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _kind(path: Path) -> str:
    tests = {"a folder": path.is_dir, "a pipe": path.is_fifo, "a socket": path.is_socket}
    return next((name for name, is_kind in tests.items() if is_kind()), "a device")
