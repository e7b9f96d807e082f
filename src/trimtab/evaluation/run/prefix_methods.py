"""Methods of a comparison that rank unfinished texts: blockwise best-of, speculative rejection, CARDS."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

from trimtab.best_of_settings import Segments
from trimtab.evaluation.run.methods import (
    Chosen,
    Method,
    Timing,
    about_rewards,
    name_of,
    params_of,
    steer_of,
    untimed,
)
from trimtab.evaluation.run.prompt_sets import Direction
from trimtab.evaluation.run.sweep_settings import Grid, SweepSettings
from trimtab.generation import Generation
from trimtab.language_model import LanguageModel
from trimtab.models.codec import Prompt
from trimtab.rewards.any_reward import check_scores_whole_texts


@final
@dataclass(frozen=True)
class PrefixWay:
    """How unfinished texts are ranked; one of the three is given.

    Attributes:
        block: tokens of a block.
        halve_every: tokens between two rankings.
        accept_at: the reward that a text should have, or stay below where the reward steers away.
    """

    block: int | None = None
    halve_every: int | None = None
    accept_at: float | None = None

    @property
    def title(self) -> str:
        """What it adds to the name of best-of-n."""
        if self.block is not None:
            return f" in blocks of {self.block}"
        if self.halve_every is not None:
            return f", halved every {self.halve_every}"
        return f" in segments to {self.accept_at:g}"

    def segments(self, direction: Direction) -> Segments | None:
        """The segments; the goal is negated where the reward steers away, as its values are."""
        if self.accept_at is None:
            return None
        return Segments(self.accept_at if direction == "up" else -self.accept_at)


def ways_of(grid: Grid) -> list[PrefixWay]:
    """The ways that were asked for."""
    return [
        *(PrefixWay(block=each) for each in grid.block or []),
        *(PrefixWay(halve_every=each) for each in grid.halve_every or []),
        *(PrefixWay(accept_at=each) for each in grid.accept_at or []),
    ]


def best_of_prefixes(
    n: int,
    way: PrefixWay,
    by: Chosen,
    direction: Direction,
    s: SweepSettings,
    timing: Timing = untimed,
) -> Method:
    """Best-of-n that ranks unfinished texts. Each sample has a seed of its own.

    Args:
        n: drafts, or the most attempts at a segment.
        way: how they are ranked.
        by: the reward, and one of its attributes.
        direction: its direction.
        s: the settings of all rows.
        timing: wraps the steer.
    """
    reward, attribute = by
    check_scores_whole_texts(reward)
    steer = timing(steer_of(reward, attribute, 1.0, direction))
    params = params_of(s, n=1)

    def write(lm: LanguageModel, prompts: Sequence[Prompt]) -> list[list[Generation]]:
        every = [prompt for prompt in prompts for _ in range(s.samples)]
        seeds = [replace(params, seed=s.seed + sample) for _ in prompts for sample in range(s.samples)]
        found = lm.best_of(
            every,
            n,
            steer,
            params=seeds,
            block=way.block,
            halve_every=way.halve_every,
            segments=way.segments(direction),
        )
        texts = [ranked.drafts[0] for ranked in found]
        return [texts[first : first + s.samples] for first in range(0, len(texts), s.samples)]

    given = {name: value for name, value in vars(way).items() if value is not None}
    about = {"drafts": n, **given, **about_rewards([by])}
    return Method(f"best of {n} by {name_of(by)}{way.title}", None, write, about, params, ranked_by=steer)
