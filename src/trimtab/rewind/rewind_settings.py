"""Settings of a search, with the paper's values as defaults. No torch here, so that the command line starts fast."""

from dataclasses import dataclass, fields
from typing import Annotated, final

from trimtab.checking import checked, shown
from trimtab.engines.sampling_params import DEFAULT_MAX_NEW_TOKENS, MAX_COUNT, check_budget
from trimtab.errors import InvalidSetting

SENTENCE_ENDS = ",.?:;\n"
MAX_NUMBER = 1e300


@final
@checked
@dataclass(frozen=True)
class RewindSettings:
    """Settings of a search (RAIN, 2309.07124). Help texts give the paper's symbols in brackets.

    Raises:
        InvalidSetting: a value is out of range, or of another type.
    """

    max_new_tokens: Annotated[int, "Maximum number of new tokens."] = DEFAULT_MAX_NEW_TOKENS
    iterations: Annotated[
        int, "Drafts to judge before a branch is committed, drafts of earlier steps included [T]."
    ] = 50
    fresh_iterations: Annotated[
        int, "Minimum number of new drafts to judge before a branch is committed, unless it is committed early."
    ] = 15
    min_visits: Annotated[
        int, "Commit a branch early if it has more visits than this, and a mean score above --min-value [T_m]."
    ] = 6
    min_value: Annotated[float, "Mean score, from -1 to 1, above which a branch is committed early [V]."] = 0.8
    exploration: Annotated[float, "Weight of exploration: larger values visit rarely visited branches more [c]."] = 2.0
    similarity_threshold: Annotated[
        float, "Sibling branches share scores if their cosine similarity is larger than this; above 1, none do."
    ] = 0.95
    similarity_weight: Annotated[float, "Fraction of a visit that a sibling of cosine similarity 1 receives [γ]."] = 0.2
    variance: Annotated[
        float, "Add a branch if all branches are bad and the variance of their embeddings per token is below this."
    ] = 0.03
    children: Annotated[int, "Branches per node."] = 10
    max_children: Annotated[int, "Maximum branches per node after widening."] = 20
    uniform: Annotated[float, "Fraction of the uniform distribution in the priors at the root, from 0 to 1."] = 0.25
    lengths: Annotated[tuple[int, int, int, int], "Tokens per branch at depth 1, 2, 3 and deeper."] = (
        1,
        2,
        4,
        10,
    )
    top_k: Annotated[int, "Candidates per token."] = 15
    temperature: Annotated[float, "Divides the steered logits of branches and drafts."] = 1.0
    max_kl: Annotated[
        float | None, "Budget for steering, in nats per token: the steers are scaled down to stay within it."
    ] = None
    draft_tokens: Annotated[
        int, "Maximum tokens of a draft after its branch; a draft ends at , . ? : ; or a line break."
    ] = 30
    whole_drafts: Annotated[
        bool, "Write drafts to the end of the text, for judges of finished texts. A draft with the best score is taken."
    ] = False
    lookahead: Annotated[
        int, "Drafts of a prompt to write together, ahead of need. Affects the cost, not the text."
    ] = 8
    speculate: Annotated[
        str | None,
        "How tokens of branches and drafts are guessed ahead, so that one call checks several: lookup or draft. "
        "Affects the cost, not the text.",
    ] = None

    def __post_init__(self) -> None:
        check_numbers(self)
        for name in ("exploration", "similarity_weight", "variance"):
            if getattr(self, name) < 0:
                raise InvalidSetting(f"got {name}={getattr(self, name)}, expected at least 0")
        for name in COUNTS:
            if not 1 <= getattr(self, name) <= MAX_COUNT:
                raise InvalidSetting(f"got {name}={getattr(self, name)}, expected 1 to {MAX_COUNT}")
        if not 0 <= self.uniform <= 1:
            raise InvalidSetting(f"got uniform={self.uniform}, expected 0 to 1")
        if self.temperature <= 0:
            raise InvalidSetting(f"got temperature={self.temperature}, expected above 0, because branches must differ")
        check_budget(self.max_kl)
        if len(self.lengths) != 4 or not all(1 <= length <= MAX_COUNT for length in self.lengths):
            raise InvalidSetting(f"got lengths={self.lengths}, expected four numbers, each from 1 to {MAX_COUNT}")
        if not self.children <= self.max_children <= MAX_COUNT:
            raise InvalidSetting(f"got max_children={self.max_children}, expected at least children={self.children}")

    @property
    def widest(self) -> int:
        """Return the number of candidates for branches of one token: at least one for each possible branch."""
        return max(self.max_children, self.top_k)

    def check_vocabulary(self, size: int) -> None:
        """Refuse more candidates than there are tokens.

        Raises:
            InvalidSetting: there are more.
        """
        for name in ("top_k", "max_children"):
            if getattr(self, name) > size:
                raise InvalidSetting(f"got {name}={getattr(self, name)}, expected at most the vocabulary size, {size}")

    def length(self, depth: int) -> int:
        """Return the number of tokens in a branch below a node of this depth. The first root has depth 0."""
        return self.lengths[min(depth, len(self.lengths) - 1)]


COUNTS = (
    "max_new_tokens",
    "iterations",
    "fresh_iterations",
    "min_visits",
    "children",
    "top_k",
    "draft_tokens",
    "lookahead",
)


@final
@checked
@dataclass(frozen=True)
class Budget:
    """Limits of a search.

    `max_encoded` and `max_seconds` are checked after each turn, so a search may exceed them by one turn.

    Raises:
        InvalidSetting: a limit is not above 0, or of another type.
    """

    max_iterations: Annotated[int | None, "Maximum iterations for each prompt."] = None
    max_encoded: Annotated[int | None, "Maximum tokens through the models, for all prompts of a batch together."] = None
    max_seconds: Annotated[float | None, "Maximum seconds, for all prompts of a batch together."] = None

    def __post_init__(self) -> None:
        check_numbers(self)
        for name in ("max_iterations", "max_encoded", "max_seconds"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InvalidSetting(f"got {name}={value}, expected above 0")


def check_numbers(settings: "RewindSettings | Budget") -> None:
    """Refuse numbers that are not finite.

    Raises:
        InvalidSetting: naming the field.
    """
    for name in (each.name for each in fields(settings)):
        value = getattr(settings, name)
        for number in value if isinstance(value, tuple) else (value,):
            if not isinstance(number, str | None) and not abs(number) <= MAX_NUMBER:  # NaN included
                raise InvalidSetting(f"got {name}={shown(value)}, expected a finite number")
