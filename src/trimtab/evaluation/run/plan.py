"""The plan of a sweep: every method of a grid on every prompt set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from trimtab.evaluation.run.methods import (
    Chosen,
    Method,
    Timing,
    best_of,
    greedily_guided,
    greedy,
    guided,
    name_of,
    rewind,
    truncated,
    unsteered,
    untimed,
)
from trimtab.evaluation.run.prefix_methods import best_of_prefixes, ways_of
from trimtab.evaluation.run.prompt_sets import Direction, PromptSet
from trimtab.evaluation.run.search_settings import PAPER_SEARCH, SearchSettings
from trimtab.evaluation.run.sweep import Row
from trimtab.evaluation.run.sweep_settings import Grid, SweepSettings


@final
@dataclass(frozen=True)
class Plan:
    """The methods of a comparison.

    Attributes:
        grid: the methods and the strengths that were asked for.
        settings: the settings of all rows.
        guides: by name, rewards that steer together.
        by: the reward that ranks drafts.
        judges: the rewards that judge searches.
        search: the settings of the searches.
    """

    grid: Grid
    settings: SweepSettings
    guides: Mapping[str, Sequence[Chosen]]
    by: Chosen | None
    judges: Sequence[Chosen] = ()
    search: SearchSettings = PAPER_SEARCH

    def rows(self, sets: Sequence[PromptSet]) -> list[Row]:
        """All rows: the first method on all prompt sets, then the second, and so on."""
        methods = {direction: self.methods(direction) for direction in {one.direction for one in sets}}
        count = len(next(iter(methods.values())))
        return [Row(one, methods[one.direction][place]) for place in range(count) for one in sets]

    def methods(self, direction: Direction, timing: Timing = untimed) -> list[Method]:
        """All methods in one direction; `timing` wraps the steer of each."""
        s, betas = self.settings, self.grid.beta or ()
        steered = [
            guided(name, of, beta, direction, s, timing, max_kl)
            for name, of in self.guides.items()
            for max_kl in (None, *(self.grid.max_kl or ()))
            for beta in betas
        ]
        steered += [
            greedily_guided(name, of, weight, direction, s, timing)
            for name, of in self.guides.items()
            for weight in self.grid.args or ()
        ]
        drafts = self.grid.best_of or () if self.by else ()
        ranked = [best_of(n, name_of(self.by), *self.by, direction, s, timing) for n in drafts if self.by]
        ranked += [
            best_of_prefixes(n, way, self.by, direction, s, timing)
            for n in drafts
            for way in ways_of(self.grid)
            if self.by
        ]
        first = next(iter(self.guides.values()), [])
        searched = [
            rewind(judge, self.grid.rewind_alone, first, beta, direction, s, self.search, timing)
            for judge in self.judges
            for beta in (None, *(self.grid.rewind_beta or ()))
        ]
        plain = [unsteered(s), truncated(s), *([greedy(s)] if self.grid.greedy else [])]
        return [*plain, *steered, *ranked, *searched]

    def timed(self, direction: Direction, timing: Timing) -> list[Method]:
        """One method for each name of a time, `top-k` first, searches last."""
        by_name = {method.time_name: method for method in self.methods(direction, timing)}
        first = by_name.pop("top-k")
        return [first, *sorted(by_name.values(), key=lambda method: method.searches)]
