"""The folder to save a reward in, checked before any work. No torch here."""

from pathlib import Path

from trimtab.checking import checked, shown
from trimtab.data.files import shown_path
from trimtab.data.outputs import check_folder
from trimtab.errors import InvalidOutput, InvalidSetting
from trimtab.rewards.card import CARD_FILE, README_FILE, WEIGHTS_FILE

NO_NAMES = ("", "..")  # of ".", "/" and paths that end in ".."


@checked
def check_target(folder: str | Path) -> None:
    """Check that a reward can be saved in a folder, and that nothing but a reward would be replaced.

    Raises:
        InvalidSetting: the folder holds other files.
        InvalidOutput: the path has no name, it is a file, or the folder cannot be written, or made.
    """
    path, given = Path(folder), f"got {shown_path(folder)} to save a reward in"
    if path.name in NO_NAMES:
        raise InvalidOutput(f"{given}, expected a folder with a name, such as rewards/mine")
    real = check_folder(path, "the folder")
    others = {each.name for each in real.iterdir()} - {CARD_FILE, WEIGHTS_FILE, README_FILE} if real.exists() else ()
    if others:
        raise InvalidSetting(
            f"{given}, expected a new or empty folder, it holds {shown(min(others))}; choose another path"
        )
