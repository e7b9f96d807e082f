"""The name of a base in a card: a local base near the reward is recorded by its place, another by its last name."""

import os
import re
from pathlib import Path, PurePath

from trimtab.checking import shown
from trimtab.errors import RewardMismatch
from trimtab.models.gguf_file import earlier_conversion

MOST_UP = 2  # folders from the reward to the folder that holds both
MOST_DOWN = 2  # folders from there to the base
PLACEHOLDER = "path/to/"  # of a local base, for people
ELSEWHERE = re.compile(r"(.+) \(weights [0-9a-f]+\)")  # a base that no path leads to: no Hub id looks like that


def recorded_base(name: str, folder: Path, fingerprint: str | None) -> str:
    """Return the name of a base for the card of a reward. It shows nobody's folders.

    Args:
        name: as `trimtab.load` took it.
        folder: the folder that the reward is saved in.
        fingerprint: a hash of the base's weights.

    Returns:
        The path of a local model relative to that folder, if the two are near each other, so that both can move.
        Otherwise the last name of its path, and the hash. A name that is no path is returned as it is.
    """
    if not _is_local(name):
        return name
    base, reward = Path(name).resolve(), folder.resolve()
    way = PurePath(os.path.relpath(base, reward))
    ups = way.parts.count("..")
    home = Path.home()
    is_near = 1 <= ups <= MOST_UP and len(way.parts) - ups <= MOST_DOWN
    if is_near and reward.parents[ups - 1] not in (home, *home.parents) and base.exists():
        return way.as_posix()
    return published_base(name, fingerprint)


def published_base(name: str, fingerprint: str | None) -> str:
    """Return the name of a base for a card that leaves this machine: a local model by its last name and its hash."""
    return f"{Path(name).resolve().name or 'base'} (weights {fingerprint or 0})" if _is_local(name) else name


def find_base(name: str, folder: Path) -> str:
    """Return the name by which the base of a reward loads.

    Args:
        name: as in the card.
        folder: the reward's folder.
    """
    beside = folder.resolve() / name
    return str(beside) if not Path(name).is_absolute() and beside.exists() else name


def earlier_place(name: str) -> str:
    """Return the folder in which a base was converted that was loaded here before.

    A name that says more than the last name and the hash, and that of a base that was not, are returned as they are.
    """
    match = ELSEWHERE.fullmatch(name)
    return str((match and earlier_conversion(match[1])) or name)


def check_located(name: str, reward: str) -> None:
    """Check that it is known where a base is.

    Args:
        name: the base, as in the card or as `earlier_place` found it.
        reward: the reward's name, for the message.

    Raises:
        RewardMismatch: the base's last name and hash alone are known.
    """
    if not is_located(name):
        raise RewardMismatch(
            f"the card of {shown(reward)} does not say where its base {name} is; load that file once, as with trimtab "
            'generate --model path/to/base, or give the model: trimtab.reward(FOLDER, trimtab.load("path/to/base"))'
        )


def is_located(name: str) -> bool:
    """Return whether it is known where a base is: more than its last name and its hash."""
    return not ELSEWHERE.fullmatch(name)


def may_load(name: str, model: str) -> bool:
    """Return whether what loads a model may load a base that has no place, by the last names of both."""
    match = ELSEWHERE.fullmatch(name)
    return match is not None and match[1] == Path(model).name


def shown_base(name: str) -> str:
    """Return the base of a card as people read it: a local one as path/to/NAME."""
    if match := ELSEWHERE.fullmatch(name):
        return PLACEHOLDER + match[1]
    return PLACEHOLDER + PurePath(name).name if _is_path(name) else name


def is_hub_base(name: str) -> bool:
    """Whether the base of a card can be a Hub id: it is no path, no file, and no last name with a hash."""
    return bool(name) and not (ELSEWHERE.fullmatch(name) or _is_path(name) or name.endswith(".gguf"))


def _is_local(name: str) -> bool:
    return _is_path(name) or (bool(name) and Path(name).exists())


def _is_path(name: str) -> bool:
    """Whether a name can only be a path: a Hub id starts with neither "." nor "/"."""
    return name.startswith(".") or Path(name).is_absolute()
