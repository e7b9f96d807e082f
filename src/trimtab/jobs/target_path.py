"""The path of a job's rows: checked before anything heavy is imported."""

from pathlib import Path

from trimtab.data.files import read_record
from trimtab.data.outputs import check_output, lock_path
from trimtab.errors import InvalidData, InvalidOutput

SETTINGS_SUFFIX = ".settings.json"


def check_target_path(path: Path, source: Path | None = None, replace: bool = False) -> Path:
    """Return the file that a target means, symbolic links followed, if rows can be written to it.

    Args:
        path: as the user gave it.
        source: the input, which must be another file.
        replace: whether what the file holds may be replaced, whoever wrote it.

    Raises:
        InvalidOutput: it, or the file with its settings, cannot be written, or is the input.
        InvalidData: it is to be compressed, or one of the two holds something that is not ours and may not be
            replaced.
    """
    if path.suffix == ".gz":
        raise InvalidData(f"got {str(path)!r} to write, expected a plain .jsonl file: a compressed one cannot resume")
    if path.name.endswith(SETTINGS_SUFFIX):
        raise InvalidData(f"got {str(path)!r} to write, expected another name: so the settings of rows are called")
    inputs = [source] if source else []
    real = check_output(path, "--output", inputs, replace=True)
    settings = check_output(settings_path(real), "--output with its settings in", inputs, replace=True)
    lock = lock_path(real)
    if lock.is_symlink() or (lock.exists() and not lock.is_file()):
        raise InvalidOutput(f"got --output {str(path)!r} with its lock in {lock.name!r}, expected a regular file there")
    if replace:
        return real
    if settings.exists():
        check_settings(settings)
    elif has_content(real):
        raise InvalidData(
            f"{str(path)!r} exists and has no {settings_path(real).name} beside it; choose another path, or add --force"
        )
    return real


def check_settings(path: Path) -> None:
    """Check that a file holds the settings of a job, so that nothing else is replaced.

    Raises:
        InvalidData: it does not.
    """
    try:
        job = read_record(path).get("job")
    except InvalidData as error:
        raise InvalidData(
            f"{str(path)!r} holds no settings of ours ({error}); choose another --output, or add --force"
        ) from error
    if not isinstance(job, dict) or "kind" not in job:
        raise InvalidData(f"{str(path)!r} holds no settings of ours; choose another --output, or add --force")


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
