"""Public names: of rewards, as `trimtab serve --reward` takes them, and of the model. No torch at import."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from trimtab.checking import shown
from trimtab.errors import InvalidSetting
from trimtab.rewards.card import read_card
from trimtab.rewards.expert_names import check_experts, names_experts
from trimtab.rewards.registry import find_reward

RESERVED = "+=: /\\"  # they have a meaning in steers, aliases and paths


@final
@dataclass(frozen=True)
class RewardPlace:
    """A reward to register.

    Attributes:
        name: what requests call it.
        source: a bundled name, a folder or a Hub id; or `experts:EXPERT,ANTI`.
    """

    name: str
    source: str


def parse_places(texts: Sequence[str]) -> list[RewardPlace]:
    """Read NAME, the name of a bundled reward, or NAME=SOURCE.

    Raises:
        InvalidSetting: another form, or two rewards of one name.
    """
    places = [RewardPlace(*_parts(text)) for text in texts]
    names = [place.name for place in places]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidSetting(f"got the reward {shown(twice[0])} twice, expected each name once")
    return places


def check_places(places: Sequence[RewardPlace]) -> None:
    """Check that rewards exist and that their cards can be read, before a language model loads.

    Raises:
        RewardNotFound, CorruptReward: one cannot be used.
    """
    for place in places:
        if names_experts(place.source):
            check_experts(place.source)
        else:
            read_card(find_reward(place.source))


def _parts(text: str) -> tuple[str, str]:
    name, equals, source = text.partition("=")
    if not name or (equals and not source) or any(character in name for character in RESERVED):
        raise InvalidSetting(
            f"got the reward {shown(text)}, expected a bundled name, or NAME=SOURCE with a folder or a Hub id, as in "
            "kind=rewards/kind"
        )
    return name, source or name


def public_name(model: str, given: str | None) -> str:
    """The name under which a model is served: the given one, or the last part of what it was loaded by.

    Raises:
        InvalidSetting: the given one is empty or has a `+`, which opens an alias's steers.
    """
    if given is None:
        return Path(model).name.removesuffix(".gguf").replace("+", "-") or "model"
    if not given or "+" in given:
        raise InvalidSetting(f"got served_name={shown(given)}, expected a name without +, which opens a steer")
    return given
