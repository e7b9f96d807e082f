"""The plan of a sweep: the methods of a grid, on every prompt set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from trimtab.evaluation.methods import Method, Watch, best_of, guided, truncated, unsteered
from trimtab.evaluation.prompts import Direction, PromptSet
from trimtab.evaluation.settings import Grid, SweepSettings
from trimtab.evaluation.sweep import Row
from trimtab.rewards.model import RewardModel

Chosen = tuple[RewardModel, str | None]  # a reward and which of its attributes; None: the first


@final
@dataclass(frozen=True)
class Plan:
    """Which methods are compared.

    Attributes:
        grid: what was asked for.
        settings: what all rows share.
        guides: by name, the rewards that steer together.
        by: what ranks drafts.
    """

    grid: Grid
    settings: SweepSettings
    guides: Mapping[str, Sequence[Chosen]]
    by: Chosen | None

    def rows(self, sets: Sequence[PromptSet]) -> list[Row]:
        """A method on all prompt sets, then the next."""
        methods = {direction: self.methods(direction) for direction in {one.direction for one in sets}}
        count = len(next(iter(methods.values())))
        return [Row(one, methods[one.direction][place]) for place in range(count) for one in sets]

    def methods(self, direction: Direction, watch: Watch = lambda steer: steer) -> list[Method]:
        """All methods, pushing one way; the rewards of each seen by `watch`."""
        s, betas = self.settings, self.grid.beta or ()
        steered = [guided(name, of, beta, direction, s, watch) for name, of in self.guides.items() for beta in betas]
        ranked = (
            [best_of(n, _name(self.by), *self.by, direction, s, watch) for n in self.grid.best_of or ()]
            if self.by
            else []
        )
        return [unsteered(s), truncated(s), *steered, *ranked]

    def timed(self, direction: Direction, watch: Watch) -> list[Method]:
        """A method of each name, for β changes no times; `top-k` first."""
        by_name = {method.name: method for method in self.methods(direction, watch)}
        return [by_name.pop("top-k"), *by_name.values()]


def _name(chosen: Chosen) -> str:
    reward, attribute = chosen
    return f"{reward.name}:{attribute}" if attribute else reward.name
