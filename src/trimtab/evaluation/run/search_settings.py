"""Settings of the searches of a comparison. No torch here, so that the command line starts fast."""

from dataclasses import asdict, dataclass
from typing import Annotated, final, get_args, get_type_hints

from trimtab.checking import checked
from trimtab.errors import InvalidSetting
from trimtab.rewind.rewind_settings import RewindSettings

PREFIX = "search_"
PAPER = RewindSettings()
HELP = {name: get_args(hint)[1] for name, hint in get_type_hints(RewindSettings, include_extras=True).items()}
HELP["min_visits"] = HELP["min_visits"].replace("--min-value", "--search-min-value")


@final
@checked
@dataclass(frozen=True)
class SearchSettings:
    """The fields of `RewindSettings` with `search_` before them. Length and temperature are those of all rows.

    Raises:
        InvalidSetting: a value is out of range.
    """

    search_iterations: Annotated[int, HELP["iterations"]] = PAPER.iterations
    search_fresh_iterations: Annotated[int, HELP["fresh_iterations"]] = PAPER.fresh_iterations
    search_min_visits: Annotated[int, HELP["min_visits"]] = PAPER.min_visits
    search_min_value: Annotated[float, HELP["min_value"]] = PAPER.min_value
    search_exploration: Annotated[float, HELP["exploration"]] = PAPER.exploration
    search_similarity_threshold: Annotated[float, HELP["similarity_threshold"]] = PAPER.similarity_threshold
    search_similarity_weight: Annotated[float, HELP["similarity_weight"]] = PAPER.similarity_weight
    search_variance: Annotated[float, HELP["variance"]] = PAPER.variance
    search_children: Annotated[int, HELP["children"]] = PAPER.children
    search_max_children: Annotated[int, HELP["max_children"]] = PAPER.max_children
    search_uniform: Annotated[float, HELP["uniform"]] = PAPER.uniform
    search_lengths: Annotated[tuple[int, int, int, int], HELP["lengths"]] = PAPER.lengths
    search_top_k: Annotated[int, HELP["top_k"]] = PAPER.top_k
    search_draft_tokens: Annotated[int, HELP["draft_tokens"]] = PAPER.draft_tokens
    search_lookahead: Annotated[int, HELP["lookahead"]] = PAPER.lookahead

    def __post_init__(self) -> None:
        try:
            self.settings()
        except InvalidSetting as error:
            raise InvalidSetting(str(error).replace("got ", f"got {PREFIX}", 1)) from error

    def settings(self, max_new_tokens: int = PAPER.max_new_tokens, temperature: float = 1.0) -> RewindSettings:
        """The settings of a search of that length and temperature."""
        own = {name.removeprefix(PREFIX): value for name, value in asdict(self).items()}
        return RewindSettings(max_new_tokens=max_new_tokens, temperature=temperature, **own)


PAPER_SEARCH = SearchSettings()
