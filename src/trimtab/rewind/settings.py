"""The settings of a search, with the paper's values as defaults; no torch here."""

from dataclasses import dataclass
from typing import Annotated, final

from trimtab.engines.settings import DEFAULT_MAX_NEW_TOKENS
from trimtab.errors import InvalidSetting

SENTENCE_ENDS = ",.?:;\n"


@final
@dataclass(frozen=True)
class RewindSettings:
    """How a search goes (RAIN, 2309.07124; the names in brackets are its symbols)."""

    max_new_tokens: Annotated[int, "The most tokens to write."] = DEFAULT_MAX_NEW_TOKENS
    iterations: Annotated[int, "Drafts judged before words are committed, earlier ones there counted [T]."] = 50
    fresh_iterations: Annotated[int, "New drafts before words are committed, unless one is good enough."] = 15
    enough_visits: Annotated[int, "Commit early once a choice has more visits than this [T_m] …"] = 6
    enough_value: Annotated[float, "… and a mean score above this [V]; scores go from -1 to 1."] = 0.8
    exploration: Annotated[float, "How much a rarely visited branch attracts [c]."] = 2.0
    similarity_threshold: Annotated[float, "Branches of a larger cosine share scores; above 1: none do."] = 0.95
    similarity_weight: Annotated[float, "The part of a visit that a branch of cosine 1 gets [γ]."] = 0.2
    variance: Annotated[float, "Where bad branches vary less than this, a token, one is added."] = 0.03
    children: Annotated[int, "Branches of a node."] = 10
    most_children: Annotated[int, "To how many it may be widened."] = 20
    uniform: Annotated[float, "The part of the uniform distribution in the priors at the root of the search."] = 0.25
    lengths: Annotated[tuple[int, int, int, int], "Tokens of a branch: the first, second, third, and all others."] = (
        1,
        2,
        4,
        10,
    )
    top_k: Annotated[int, "Candidates of a token."] = 15
    temperature: Annotated[float, "Divides the steered logits of branches and drafts."] = 1.0
    draft_tokens: Annotated[int, "The most tokens of a draft behind its branch; it ends with , . ? : ; or a line."] = 30
    lookahead: Annotated[int, "Drafts of a prompt written together, ahead of need; changes the cost alone."] = 8

    def __post_init__(self) -> None:
        for name in ("exploration", "similarity_weight", "variance"):
            if not getattr(self, name) >= 0:
                raise InvalidSetting(f"got {name}={getattr(self, name)}, expected at least 0")
        for name in COUNTS:
            if getattr(self, name) < 1:
                raise InvalidSetting(f"got {name}={getattr(self, name)}, expected at least 1")
        if not 0 <= self.uniform <= 1:
            raise InvalidSetting(f"got uniform={self.uniform}, expected 0 to 1")
        if not self.temperature > 0:
            raise InvalidSetting(f"got temperature={self.temperature}, expected above 0: branches have to differ")
        if len(self.lengths) != 4 or min(self.lengths) < 1:
            raise InvalidSetting(f"got lengths={self.lengths}, expected four, each at least 1")
        if self.most_children < self.children:
            raise InvalidSetting(f"got most_children={self.most_children}, expected at least {self.children}")

    @property
    def widest(self) -> int:
        """Candidates that are looked at where branches are one token long: as many as there may be branches."""
        return max(self.most_children, self.top_k)

    def length(self, depth: int) -> int:
        """How many tokens a branch has below a node of this depth, the first root's being 0."""
        return self.lengths[min(depth, len(self.lengths) - 1)]


COUNTS = (
    "max_new_tokens",
    "iterations",
    "fresh_iterations",
    "enough_visits",
    "children",
    "top_k",
    "draft_tokens",
    "lookahead",
)


@final
@dataclass(frozen=True)
class Budget:
    """What all prompts of a call may cost together; what is spent when a turn ends ends the search."""

    max_iterations: Annotated[int | None, "A budget for each prompt: iterations in all."] = None
    max_encoded: Annotated[int | None, "A budget for all prompts: tokens through the models, the turn finished."] = None
    max_seconds: Annotated[float | None, "A budget for all prompts: seconds, the turn finished."] = None

    def __post_init__(self) -> None:
        for name in ("max_iterations", "max_encoded", "max_seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InvalidSetting(f"got {name}={value}, expected above 0")
