"""The folder to save a reward in, checked before any work. No torch here."""

import os
from pathlib import Path

from trimtab.checking import checked, shown
from trimtab.data.files import shown_path
from trimtab.data.hub import reason_of
from trimtab.data.outputs import check_parent
from trimtab.errors import InvalidOutput, InvalidSetting
from trimtab.rewards.card import CARD_FILE, README_FILE, WEIGHTS_FILE

NO_NAMES = ("", "..")  # of ".", "/" and paths that end in ".."


@checked
def check_target(folder: str | Path) -> None:
    """Check that a reward can be saved in a folder, and that nothing but a reward would be replaced.

    Raises:
        InvalidSetting: the path is a file, or a folder that holds other files.
        InvalidOutput: the path has no name, or the folder cannot be written, or made.
    """
    path, given = Path(folder), f"got {shown_path(folder)} to save a reward in"
    if path.name in NO_NAMES:
        raise InvalidOutput(f"{given}, expected a folder with a name, such as rewards/mine")
    try:
        real = path.resolve()
        exists, is_folder = os.path.lexists(real), real.is_dir()
        others = {each.name for each in real.iterdir()} - {CARD_FILE, WEIGHTS_FILE, README_FILE} if is_folder else set()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name that is too long, a null character
        reason = getattr(error, "strerror", None) or reason_of(error)
        raise InvalidOutput(f"{given}, expected a path that can be written ({reason})") from error
    if exists and not is_folder:
        raise InvalidSetting(f"{given}, expected a folder, it is a file; choose another path")
    if others:
        raise InvalidSetting(
            f"{given}, expected a new or empty folder, it holds {shown(min(others))}; choose another path"
        )
    check_parent(real / CARD_FILE, path, "the folder")
