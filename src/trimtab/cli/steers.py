"""`NAME[:ATTRIBUTE]=±BETA`, as typed on the command line."""

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

from trimtab.errors import InvalidSetting

if TYPE_CHECKING:
    from trimtab.lm import LanguageModel
    from trimtab.rewards.model import RewardModel
    from trimtab.steering.steer import Steer

HEADS = {"arm": "q", "rad": "v"}


@dataclass(frozen=True)
class TypedSteer:
    """One --steer.

    Attributes:
        reward: a bundled name, a folder or a Hub id.
        attribute: which of its rewards; None for the first.
        beta: towards high rewards above 0, away from them below.
    """

    reward: str
    attribute: str | None
    beta: float


def parse_steer(text: str) -> TypedSteer:
    """Read NAME[:ATTRIBUTE]=±BETA.

    Raises:
        InvalidSetting: it does not have that form.
    """
    name, equals, beta = text.rpartition("=")
    try:
        strength = float(beta)
    except ValueError:
        strength = float("nan")
    if not (name and equals and abs(strength) < float("inf")):
        raise InvalidSetting(f"got --steer {text!r}, expected NAME=+BETA or NAME:ATTRIBUTE=-BETA, as in toxicity=-30")
    return TypedSteer(*parse_reward(name), strength)


def parse_reward(text: str) -> tuple[str, str | None]:
    """Read NAME[:ATTRIBUTE]; a colon within a path is part of the path."""
    name, colon, attribute = text.rpartition(":")
    return (name, attribute) if colon and "/" not in attribute and "\\" not in attribute else (text, None)


def check_method(method: str | None) -> None:
    """Refuse a method that does not exist."""
    if method is not None and method not in HEADS:
        raise InvalidSetting(f"got --method {method!r}, expected arm or rad")


def load_steers(texts: list[str], method: str | None, lm: "LanguageModel") -> "Steer | None":
    """The sum of all --steer options; None for none."""
    typed = [parse_steer(text) for text in texts]
    rewards = {name: load_by_method(name, method, lm) for name in dict.fromkeys(steer.reward for steer in typed)}
    steers = [
        (rewards[t.reward].away if t.beta < 0 else rewards[t.reward].toward)(abs(t.beta), t.attribute) for t in typed
    ]
    return reduce(add, steers) if steers else None


def load_by_method(name: str, method: str | None, lm: "LanguageModel | None") -> "RewardModel":
    """A reward by name; with `method`, the bundled one of that kind, or an error where a reward is of the other.

    Raises:
        InvalidSetting: an unknown method, or one that the reward does not have.
    """
    from trimtab.lm import reward
    from trimtab.rewards.catalogue import RAD_SUFFIX, bundled_rewards

    check_method(method)
    if method == "rad" and name + RAD_SUFFIX in bundled_rewards():
        name += RAD_SUFFIX
    found = reward(name, lm)
    if method is not None and found.card.head != HEADS[method]:
        raise InvalidSetting(f"got --method {method}, but {name!r} has a {found.card.head.upper()}-head; leave it out")
    return found
