"""The name of a base in a card: a local base is recorded relative to the reward's folder, so that both can move."""

import os
from pathlib import Path


def recorded_base(name: str, folder: Path) -> str:
    """Return the name of a base for the card of a reward.

    Args:
        name: as `trimtab.load` took it.
        folder: the folder that the reward is saved in.

    Returns:
        The path of a local model relative to that folder; another name as it is.
    """
    path = Path(name)
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix() if path.exists() else name


def find_base(name: str, folder: Path) -> str:
    """Return the name by which the base of a reward loads.

    Args:
        name: as in the card.
        folder: the reward's folder.
    """
    beside = folder.resolve() / name
    return str(beside) if not Path(name).is_absolute() and beside.exists() else name
