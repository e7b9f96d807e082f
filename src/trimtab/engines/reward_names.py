"""The names of the rewards of a batch, and of a text that several batches wrote."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from trimtab.engines.base import Choice
from trimtab.steering.reward import Reward

NUMBER = re.compile(r"#\d+(?=:[^:]*$)")  # in "reward#2:attribute"


def name_rewards(rewards: Sequence[Reward], kept: Sequence[str] = ()) -> dict[str, Reward]:
    """The rewards by name; the second of a name is "name#2".

    Args:
        rewards: distinct rewards.
        kept: the names of the first of them, which stay.
    """
    named = dict(zip(kept, rewards, strict=False))
    for reward in rewards[len(kept) :]:
        numbered = (f"{reward.name}#{number}" if number > 1 else reward.name for number in count(1))
        named[next(name for name in numbered if name not in named)] = reward
    return named


def named_alike(choices: Sequence[Choice]) -> tuple[Choice, ...]:
    """The choices of one text, with the names that its rewards have in the first of them.

    A reward loses its number when the rows of its namesakes leave the batch.
    """
    if len({tuple(choice.rewards) for choice in choices}) < 2:
        return tuple(choices)
    names: dict[tuple[str, int], str] = {}
    return tuple(_named(choice, names) for choice in choices)


def _named(choice: Choice, names: dict[tuple[str, int], str]) -> Choice:
    own = {name: values for name, values in choice.rewards.items() if not values.isnan().all()}
    seen, found = Counter[str](), {}
    for name, values in own.items():
        plain = NUMBER.sub("", name)
        found[names.setdefault((plain, seen[plain]), name)] = values
        seen[plain] += 1
    return replace(choice, rewards=found)
