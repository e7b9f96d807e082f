"""The path of a job's rows: checked before anything heavy is imported."""

from pathlib import Path

from trimtab.data.outputs import check_output
from trimtab.errors import InvalidData

STANDARD_STREAM = "-"
SETTINGS_SUFFIX = ".settings.json"


def check_target_path(path: Path, source: Path | None = None) -> Path:
    """Return the file that a target means, symbolic links followed, if rows can be written to it.

    Args:
        path: as the user gave it.
        source: the input, which must be another file.

    Raises:
        InvalidOutput: it cannot be written, or is the input.
        InvalidData: it is to be compressed, or holds something that is not ours.
    """
    if path.suffix == ".gz":
        raise InvalidData(f"got {str(path)!r} to write, expected a plain .jsonl file: a compressed one cannot resume")
    real = check_output(path, "--output", [source] if source else [], replace=True)
    if has_content(real) and not settings_path(real).exists():
        raise InvalidData(
            f"{str(path)!r} exists and has no {settings_path(real).name} beside it; remove it or choose another path"
        )
    return real


def settings_path(target: Path) -> Path:
    """The file beside a target with the settings that wrote it."""
    return target.with_name(target.name + SETTINGS_SUFFIX)


def has_content(path: Path) -> bool:
    """Whether a file exists and is not empty."""
    return path.exists() and path.stat().st_size > 0


def is_pipe(path: Path) -> bool:
    """Whether a path is a pipe; False for a name that no file can have."""
    try:
        return path.is_fifo()
    except (OSError, ValueError):
        return False
