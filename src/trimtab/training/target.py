"""A teacher's rewards of one text, and the places whose candidates it scored."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@final
@dataclass(frozen=True)
class Target:
    """A teacher's rewards of one text.

    Attributes:
        observed: the reward after each token of the text.
        known: False at a first token that the teacher cannot score.
        places: the places, counted from the text's first token, whose candidates the teacher scored; there may be
            none. The first token is not among them if the teacher puts nothing before a text.
        candidates: the base's k most likely tokens in each of these places. In the first place, they are those after
            BOS.
        rewards: the reward of each candidate in that place.
        scored: False for a candidate that a teacher of texts cannot score; then its reward is 0.
    """

    observed: Float[Tensor, "tokens attributes"]
    known: Bool[Tensor, " tokens"]
    places: Int[Tensor, " places"]
    candidates: Int[Tensor, "places k"]
    rewards: Float[Tensor, "places k attributes"]
    scored: Bool[Tensor, "places k"]


def side_by_side(targets: Sequence[Target]) -> Target:
    """The rewards of several teachers of one text as those of one, whose attributes are all of theirs.

    The teachers score the same places, and mostly the same candidates: those of one that differ from the first one's,
    because near ties were broken the other way, count as not scored.
    """
    first = targets[0]
    if len(targets) == 1:
        return first
    return Target(
        torch.cat([each.observed for each in targets], dim=-1),
        torch.stack([each.known for each in targets]).all(0),
        first.places,
        first.candidates,
        torch.cat([each.rewards for each in targets], dim=-1),
        torch.stack([each.scored & (each.candidates == first.candidates) for each in targets]).all(0),
    )


def left_out(targets: Sequence[Target], contexts: Sequence[int] = ()) -> int:
    """How many candidates and prefixes a teacher of texts could not score; tokens of contexts are not asked about."""
    return sum(int((~t.scored).sum()) + int((~t.known).sum()) for t in targets) - sum(contexts)


def draw_places(ids: Sequence[int], positions: int | None, opened: bool) -> list[int]:
    """The places of a text whose candidates are scored, drawn by the text itself.

    Args:
        ids: the text.
        positions: how many places; None for all.
        opened: whether the first token has candidates, too: those after BOS.
    """
    able = range(0 if opened else 1, len(ids))
    if positions is None or positions >= len(able):
        return list(able)
    return sorted(random.Random(repr(list(ids))).sample(able, positions))
