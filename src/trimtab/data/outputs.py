"""Output files: checked before any work, then written whole. Devices, folders and inputs are never replaced."""

import hashlib
import os
import platform
import re
import shutil
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from trimtab.data.files import shown_path, why_not_written
from trimtab.errors import InvalidOutput

NAME_WIDTH = 40  # characters of a name in the name of its partial; a hash stands for the rest
Mark = Literal["partial", "replaced"]  # what is being written, and the older folder that it replaces


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
        raise InvalidOutput(f"got {option} {str(path)!r}, expected a regular file; it is {kind_of(real)}")
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
    if not _takes_files(folder):
        raise InvalidOutput(f"got {option} {str(path)!r}, expected a folder that may be written: {str(folder)!r}")


def _takes_files(folder: Path) -> bool:
    """Whether a file can be made in a folder. /proc and its like only claim so; where it is tried, nothing stays."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def check_folder(folder: Path, option: str) -> Path:
    """Return the folder that a path means, symbolic links followed, if it can be written, or made.

    Args:
        folder: as the user gave it.
        option: its name, for messages, such as "--out".

    Raises:
        InvalidOutput: it is a file or a device, or may not be written.
    """
    try:
        real = folder.resolve()
        exists, is_folder = os.path.lexists(real), real.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name that is too long, a null character
        raise InvalidOutput(
            f"got {option} {shown_path(folder)}, expected a folder that can be written ({why_not_written(error)})"
        ) from error
    if exists and not is_folder:
        raise InvalidOutput(f"got {option} {shown_path(folder)}, expected a folder; it is {kind_of(real)}")
    check_parent(real / "file", folder, option)
    return real


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file beside its place and rename it, so that it is old or new and never half. Folders are made.

    A file that is replaced passes on its mode; the mode of a new one follows the umask.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_stale_partials(path)
    partial = partial_path(path)
    try:
        with partial.open("wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            partial.chmod(path.stat().st_mode & 0o777)
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)
        raise


def set_new_mode(path: Path) -> None:
    """Give a file the mode of a new file, as the umask has it. Some writers leave theirs to its owner alone."""
    probe = path.with_name(f"{path.name}.mode")
    probe.touch()
    mode = probe.stat().st_mode & 0o777
    probe.unlink()
    path.chmod(mode)


def partial_path(path: Path, mark: Mark = "partial") -> Path:
    """Return where this thread writes a file or a folder before it is renamed: hidden, beside its place.

    Args:
        path: the file or the folder.
        mark: "replaced" for the place of an older folder while the new one takes its place.
    """
    return path.with_name(f"{_partial_prefix(path)}{os.getpid()}-{threading.get_native_id()}.{mark}")


def stale_partials(path: Path, mark: Mark = "partial") -> list[Path]:
    """Return what killed processes of this machine left of a file or a folder.

    A running process is using its own, but for the name of this very thread: it can only be that of a process before.
    """
    pattern = re.compile(re.escape(_partial_prefix(path)) + rf"(\d+)-\d+\.{mark}")
    ours = partial_path(path, mark)
    found = [(each, pattern.fullmatch(each.name)) for each in path.parent.iterdir()]
    return [each for each, match in found if match and (each == ours or not _is_running(int(match[1])))]


def remove_stale_partials(path: Path, mark: Mark = "partial") -> None:
    """Remove what killed processes of this machine left of a file or a folder."""
    for found in stale_partials(path, mark):
        shutil.rmtree(found, ignore_errors=True) if found.is_dir() else found.unlink(missing_ok=True)


def kind_of(path: Path) -> str:
    """Return what stands at a path, such as "a folder"."""
    tests = {"a file": path.is_file, "a folder": path.is_dir, "a pipe": path.is_fifo, "a socket": path.is_socket}
    return next((name for name, is_kind in tests.items() if is_kind()), "a device")


def lock_path(path: Path) -> Path:
    """Return where the lock of a file stands: hidden, beside its place."""
    return path.with_name(f"{_hidden_name(path)}.lock")


def _hidden_name(path: Path) -> str:
    """A hidden name for a path of any length; different names stay different."""
    return f".{path.name[:NAME_WIDTH]}.{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:8]}"


def _partial_prefix(path: Path) -> str:
    machine = re.sub(r"[^\w-]", "", platform.node())[:20]
    return f"{_hidden_name(path)}.{machine}."


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
