"""The plan of a sweep: the methods of a grid, on every prompt set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from trimtab.evaluation.methods import (
    Chosen,
    Method,
    Watch,
    best_of,
    greedy,
    guided,
    name_of,
    rewound,
    truncated,
    unsteered,
)
from trimtab.evaluation.prompts import Direction, PromptSet
from trimtab.evaluation.settings import Grid, SweepSettings
from trimtab.evaluation.sweep import Row


@final
@dataclass(frozen=True)
class Plan:
    """Which methods are compared.

    Attributes:
        grid: what was asked for.
        settings: what all rows share.
        guides: by name, the rewards that steer together.
        by: what ranks drafts.
        judges: what judges searches.
    """

    grid: Grid
    settings: SweepSettings
    guides: Mapping[str, Sequence[Chosen]]
    by: Chosen | None
    judges: Sequence[Chosen] = ()

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
            [best_of(n, name_of(self.by), *self.by, direction, s, watch) for n in self.grid.best_of or ()]
            if self.by
            else []
        )
        first = next(iter(self.guides.values()), [])
        searched = [
            rewound(judge, self.grid.rewind_alone, first, beta, direction, s)
            for judge in self.judges
            for beta in (None, *(self.grid.rewind_beta or ()))
        ]
        plain = [unsteered(s), truncated(s), *([greedy(s)] if self.grid.greedy else [])]
        return [*plain, *steered, *ranked, *searched]

    def timed(self, direction: Direction, watch: Watch) -> list[Method]:
        """A method of each name, for β changes no times; `top-k` first."""
        by_name = {method.name: method for method in self.methods(direction, watch)}
        return [by_name.pop("top-k"), *by_name.values()]
