"""From the names in a grid to a plan: the rewards are loaded."""

from typing import TYPE_CHECKING

from trimtab.errors import InvalidSetting
from trimtab.evaluation.run.search_settings import SearchSettings
from trimtab.evaluation.run.sweep_settings import Grid, SweepSettings
from trimtab.steering.notation import parse_reward

if TYPE_CHECKING:
    from trimtab.evaluation.run.methods import Chosen
    from trimtab.evaluation.run.plan import Plan
    from trimtab.language_model import LanguageModel
    from trimtab.models.frozen_lm import FrozenLM


def rewards_of(grid: Grid) -> list[str]:
    """Every reward that the methods name, as NAME[:ATTRIBUTE].

    Raises:
        InvalidSetting: a name between two + is empty.
    """
    parts = [part for text in grid.reward or [] for part in text.split("+")]
    if "" in parts:
        raise InvalidSetting(f"got --reward {'+'.join(parts)!r}, expected names joined by +")
    return list(dict.fromkeys([*parts, *([grid.by] if grid.by else []), *(grid.rewind or [])]))


def load_plan(grid: Grid, settings: SweepSettings, search: SearchSettings, lm: "LanguageModel") -> "Plan":
    """Load the rewards of a grid for a language model, and plan the methods.

    Raises:
        InvalidSetting: two rewards have the same name.
        RewardNotFound, RewardMismatch, CorruptReward: of a reward.
    """
    from trimtab.evaluation.run.methods import name_of
    from trimtab.evaluation.run.plan import Plan

    loaded = {spec: load_for(spec, lm.engine.base, grid.retokenize) for spec in rewards_of(grid)}
    steering = [[loaded[part] for part in text.split("+")] for text in grid.reward or []]
    guides = {"+".join(map(name_of, rewards)): rewards for rewards in steering}
    if len(guides) < len(steering):
        raise InvalidSetting(f"got --reward {' '.join(grid.reward or [])}, expected rewards of different names")
    by = loaded[grid.by] if grid.by else next(iter(guides.values()), [None])[0]
    return Plan(grid, settings, guides, by, [loaded[spec] for spec in grid.rewind or []], search)


def load_for(text: str, base: "FrozenLM | None", retokenize: bool) -> "Chosen":
    """The reward NAME[:ATTRIBUTE] for a language model, and the attribute; None for the first."""
    from trimtab.rewards.any_reward import check_attribute
    from trimtab.rewards.registry import load_any

    name, attribute = parse_reward(text)
    found = load_any(name, base, retokenize=retokenize)
    check_attribute(found, attribute)
    return found, attribute
