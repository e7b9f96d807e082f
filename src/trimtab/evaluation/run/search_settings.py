"""Settings of the searches of a comparison. No torch here, so that the command line starts fast."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, final, get_args, get_type_hints

from trimtab.checking import checked
from trimtab.errors import InvalidSetting
from trimtab.rewind.rewind_settings import RewindSettings

if TYPE_CHECKING:
    from trimtab.rewards.card import RewardCard

PAPER = RewindSettings()
OWN_NAMES = ("top_k", "max_kl")  # the rows of a comparison have settings of these names, too
HELP = {name: get_args(hint)[1] for name, hint in get_type_hints(RewindSettings, include_extras=True).items()}


@final
@checked
@dataclass(frozen=True)
class SearchSettings:
    """The fields of `RewindSettings`; `search_top_k` is its `top_k`, `search_max_kl` its `max_kl`.

    Length and temperature are those of all rows.

    Raises:
        InvalidSetting: a value is out of range.
    """

    iterations: Annotated[int, HELP["iterations"]] = PAPER.iterations
    fresh_iterations: Annotated[int, HELP["fresh_iterations"]] = PAPER.fresh_iterations
    min_visits: Annotated[int, HELP["min_visits"]] = PAPER.min_visits
    min_value: Annotated[float, HELP["min_value"]] = PAPER.min_value
    exploration: Annotated[float, HELP["exploration"]] = PAPER.exploration
    similarity_threshold: Annotated[float, HELP["similarity_threshold"]] = PAPER.similarity_threshold
    similarity_weight: Annotated[float, HELP["similarity_weight"]] = PAPER.similarity_weight
    variance: Annotated[float, HELP["variance"]] = PAPER.variance
    children: Annotated[int, HELP["children"]] = PAPER.children
    max_children: Annotated[int, HELP["max_children"]] = PAPER.max_children
    uniform: Annotated[float, HELP["uniform"]] = PAPER.uniform
    lengths: Annotated[tuple[int, int, int, int], HELP["lengths"]] = PAPER.lengths
    search_top_k: Annotated[int, "Candidates per token of a search."] = PAPER.top_k
    search_max_kl: Annotated[float | None, "Budget for the steers of a search, in nats per token."] = PAPER.max_kl
    draft_tokens: Annotated[int, HELP["draft_tokens"]] = PAPER.draft_tokens
    whole_drafts: Annotated[bool, HELP["whole_drafts"]] = PAPER.whole_drafts
    lookahead: Annotated[int, HELP["lookahead"]] = PAPER.lookahead

    def __post_init__(self) -> None:
        with _own_names():
            self.settings()

    def check_read(self, searched: bool, steered: bool) -> None:
        """Refuse settings that nothing would read.

        Args:
            searched: whether a row is written by a search.
            steered: whether a search is steered.

        Raises:
            InvalidSetting: naming the option, and the one that it lacks.
        """
        changed = [name for name, value in asdict(self).items() if value != getattr(PAPER_SEARCH, name)]
        if changed and not searched:
            raise InvalidSetting(f"got --{changed[0].replace('_', '-')}, expected --rewind with it")
        if self.search_max_kl is not None and not steered:
            raise InvalidSetting("got --search-max-kl, expected --rewind-beta with it")

    def check_vocabulary(self, size: int) -> None:
        """Refuse more candidates than there are tokens.

        Raises:
            InvalidSetting: there are more.
        """
        with _own_names():
            self.settings().check_vocabulary(size)

    def check_candidates(self, card: "RewardCard", name: str) -> None:
        """Refuse more candidates than a reward that steers the search can score. Errors as in the card's method."""
        with _own_names():
            card.check_candidates(name, self.settings().widest)

    def settings(self, max_new_tokens: int = PAPER.max_new_tokens, temperature: float = 1.0) -> RewindSettings:
        """The settings of a search of that length and temperature."""
        own = asdict(self)
        own |= {name: own.pop(f"search_{name}") for name in OWN_NAMES}
        return RewindSettings(max_new_tokens=max_new_tokens, temperature=temperature, **own)


@contextmanager
def _own_names() -> Iterator[None]:
    """Turn an error about a field of `RewindSettings` into one about the field here."""
    try:
        yield
    except InvalidSetting as error:
        message = str(error)
        for name in OWN_NAMES:
            message = message.replace(f"got {name}=", f"got search_{name}=", 1)
        raise type(error)(message) from error


PAPER_SEARCH = SearchSettings()
