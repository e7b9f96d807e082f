"""Folders that keep what is computed once for many runs. A record in the folder says what it depends on."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trimtab.data.json_text import dump_json, parse_json
from trimtab.data.outputs import write_whole
from trimtab.errors import InvalidData
from trimtab.training.saving import saving

Settings = Mapping[str, Any]
TARGETS_FILE = "targets.json"  # the record of a teacher's rewards
TEACHERS_REWARDS = "a teacher's rewards"
FINGERPRINT = re.compile("[0-9a-f]{16,}")
HELD_OUT = "held-out"  # the folder of those of held-out texts, in the other one


def check_targets(folder: Path) -> None:
    """Check, before anything loads, that a folder can keep a teacher's rewards.

    Raises:
        InvalidData: it holds other files.
    """
    check_ours(folder / TARGETS_FILE, TEACHERS_REWARDS, is_targets)


def is_targets(path: Path) -> bool:
    """Whether a run may have left a path in a folder for a teacher's rewards, which has no record of its own.

    Each of several teachers has a folder in it, with a record.
    """
    return path.name == HELD_OUT or path.suffix == ".partial" or (path / TARGETS_FILE).is_file()


def check_ours(record: Path, content: str, ours: Callable[[Path], bool]) -> None:
    """Check that a folder has a record, or nothing that is not ours. Arguments as in `claim`.

    Raises:
        InvalidData: it holds other files.
    """
    folder = record.parent
    if record.is_file() or not folder.exists():
        return
    if not folder.is_dir() or not all(map(ours, folder.iterdir())):
        raise InvalidData(f"got {str(folder)!r} for {content}, expected a new or empty folder, or one of the same")


def claim(
    record: Path,
    settings: Settings,
    content: str,
    ours: Callable[[Path], bool] = lambda path: path.suffix == ".partial",
    serves: Callable[[dict[str, Any]], Settings] = lambda kept: kept,
) -> Settings:
    """Make a folder with a record of its settings, or check that an earlier run left it with the same settings.

    Args:
        record: the record's file, in the folder.
        settings: everything that the content depends on.
        content: what the folder keeps, for messages.
        ours: whether a file may be in a folder without a record; killed runs leave partial files.
        serves: the settings that a folder with the given settings serves; default: those alone.

    Returns:
        The settings of the folder's record.

    Raises:
        InvalidData: the folder holds other files, or content of other settings, or a damaged record.
        InvalidOutput: the folder cannot be written.
    """
    folder = record.parent
    check_ours(record, content, ours)
    if not record.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with saving(folder, f"the settings of {content}"):
            write_whole(record, dump_json(settings, indent=2) + "\n")
        return settings
    try:
        kept = dict(parse_json(record.read_text(encoding="utf-8")))
    except (InvalidData, ValueError, TypeError) as error:
        raise InvalidData(f"cannot read {str(record)!r}: {error}; remove the folder") from error
    found = serves(kept)
    if differing := [_difference(n, kept.get(n), settings[n]) for n in settings if found.get(n) != settings[n]]:
        raise InvalidData(
            f"{str(folder)!r} holds {content} of other settings ({'; '.join(differing)}); remove it, or choose another "
            "folder"
        )
    return kept


def _difference(name: str, there: object, here: object) -> str:
    """What differs; fingerprints, which say nothing to people, are left out."""
    if all(isinstance(each, str) and FINGERPRINT.fullmatch(each) for each in (there, here)):
        return f"other {name}"
    return f"{name}: {there} there, {here} here"
