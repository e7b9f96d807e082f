"""Steers and rewards as text: `NAME[:ATTRIBUTE]=±BETA`, as the command line, files and adapters write them.

Language models that steer are `experts:EXPERT,ANTI=ALPHA`, see `trimtab.rewards.expert_names`.
"""

import math
import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from trimtab.checking import checked, shown
from trimtab.errors import InvalidSetting

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
MAX_BETA = 1e6  # beyond it the base's logits vanish in float32 rounding
USUAL_STRENGTH = 30
EXPERTS = "experts:"  # opens the name of language models that steer
LOW_IS_GOOD = ("toxic", "hate", "offens", "profan", "insult", "obscen", "threat", "negative", "spam")  # in names


@dataclass(frozen=True)
class SteerText:
    """One steer as it was written.

    Attributes:
        reward: a bundled name, a folder or a Hub id.
        attribute: which of its rewards; None for the first.
        beta: toward high rewards if positive, away from them if negative.
    """

    reward: str
    attribute: str | None
    beta: float


@checked
def parse_steer(text: str) -> SteerText:
    """Read `NAME[:ATTRIBUTE]=±BETA`.

    Raises:
        InvalidSetting: the text has another form.
    """
    name, equals, beta = text.rpartition("=")
    strength = float(beta) if NUMBER.fullmatch(beta) else math.nan
    if not (name and equals and abs(strength) <= MAX_BETA):
        raise InvalidSetting(
            f"got the steer {shown(text)}, expected NAME=+BETA or NAME:ATTRIBUTE=-BETA, as in toxicity=-30, with BETA "
            f"up to {MAX_BETA:,.0f}"
        )
    return SteerText(*parse_reward(name), strength)


def check_sums(steers: Iterable[tuple[Hashable, float]]) -> None:
    """Refuse steers that cancel each other.

    Args:
        steers: what each steers by, an attribute of a reward, and its β.

    Raises:
        InvalidSetting: the β of one attribute sum up to 0, and are not all 0.
    """
    betas: dict[Hashable, list[float]] = {}
    for attribute, beta in steers:
        betas.setdefault(attribute, []).append(beta)
    if found := next((each for each in betas.values() if any(each) and not sum(each)), None):
        strengths = " and ".join(f"{beta:+g}" for beta in found)
        raise InvalidSetting(f"got the strengths {strengths} for one attribute, which cancel each other")


def low_is_good(attribute: str) -> bool:
    """Whether the name of an attribute says that low is good."""
    return any(word in attribute.lower() for word in LOW_IS_GOOD)


def usual_steer(reward: str, attributes: Sequence[str], strength: int = USUAL_STRENGTH) -> str:
    """A steer by the first attribute of a reward, for commands that are shown; one of several attributes is named.

    Args:
        reward: what loads the reward.
        attributes: all of its attributes.
        strength: the absolute value of β; the name of the attribute tells the sign.
    """
    name = f"{reward}:{attributes[0]}" if len(attributes) > 1 else reward
    return f"{name}={'-' if low_is_good(attributes[0]) else '+'}{strength}"


@checked
def parse_reward(text: str) -> tuple[str, str | None]:
    """Read `NAME[:ATTRIBUTE]`; a colon within a path is part of the path, and `experts:…` is a name as a whole."""
    if text.startswith(EXPERTS):
        return text, None
    name, colon, attribute = text.rpartition(":")
    return (name, attribute) if colon and "/" not in attribute and "\\" not in attribute else (text, None)
