"""Check the candidates of `trimtab evaluate` against the vocabulary and the rewards, before weights load."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trimtab.errors import InvalidSetting

if TYPE_CHECKING:
    from trimtab.evaluation.run.search_settings import SearchSettings
    from trimtab.evaluation.run.sweep_settings import Grid, SweepSettings
    from trimtab.rewards.card import RewardCard


def check_candidates(
    grid: "Grid",
    settings: "SweepSettings",
    search: "SearchSettings",
    cards: "Mapping[str, RewardCard | None]",
    vocabulary_size: int,
) -> None:
    """Refuse more candidates than there are tokens, or than a reward that steers can score.

    Args:
        grid, settings, search: as typed.
        cards: the cards of the rewards, by NAME[:ATTRIBUTE]; None for experts, which score every token.
        vocabulary_size: tokens of the language model.

    Raises:
        InvalidSetting: there are more.
    """
    if settings.top_k > vocabulary_size:
        raise InvalidSetting(f"got top_k={settings.top_k}, expected at most the vocabulary size, {vocabulary_size}")
    for spec in (part for text in grid.reward or [] for part in text.split("+")):
        if (card := cards[spec]) is not None:
            card.check_candidates(spec, settings.top_k)
    if not grid.rewind:
        return
    search.check_vocabulary(vocabulary_size)
    if grid.rewind_beta and grid.reward:
        for spec in grid.reward[0].split("+"):
            if (card := cards[spec]) is not None:
                search.check_candidates(card, spec)
