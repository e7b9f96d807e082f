"""What goes wrong when weights are written, as an error that names the folder."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from trimtab.data.files import FULL, shown_path, why_not_written
from trimtab.errors import InvalidOutput

TORCH_WRITER = ("PytorchStreamWriter", "inline_container", "unexpected pos", "file write", "iostream error")
LITTLE_SPACE = 2**20  # bytes; a disk with less is full


@contextlib.contextmanager
def saving(folder: Path, what: str) -> Iterator[None]:
    """Turn a failed write of safetensors, of torch or of the system into an error that names the folder.

    Args:
        folder: the folder that is written.
        what: its content, for the message.

    Raises:
        InvalidOutput: the block cannot write.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        by_torch = isinstance(error, RuntimeError)
        if by_torch and not any(sign in str(error) for sign in TORCH_WRITER):
            raise
        reason = _torch_reason(folder) if by_torch else why_not_written(error)
        raise InvalidOutput(
            f"cannot write {what} in {shown_path(folder)} ({reason}); "
            "free space or choose another folder, then give the same command again"
        ) from error


def _torch_reason(folder: Path) -> str:
    """Why torch could not write: its own words do not say."""
    try:
        place = next(each for each in (folder, *folder.resolve().parents) if each.is_dir())
        return FULL if shutil.disk_usage(place).free < LITTLE_SPACE else "a file could not be written to its end"
    except (OSError, StopIteration):
        return "a file could not be written to its end"
