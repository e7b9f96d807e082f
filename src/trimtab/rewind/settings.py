"""The settings of a search, with the paper's values as defaults; no torch here."""

from dataclasses import dataclass
from typing import final

from trimtab.errors import InvalidSetting


@final
@dataclass(frozen=True)
class TreeSettings:
    """How the tree of a search grows.

    Attributes:
        exploration: c of the selection rule (eq. 1).
        similarity: siblings of a larger cosine share in each other's scores (eq. 2); above 1: none do.
        similarity_weight: γ of eq. 2: the part of a visit that a sibling of cosine 1 gets.
        variance: a node whose children's embeddings vary less than this, a token, may be widened.
        most_children: to how many it may be widened.
        uniform: the part of the uniform distribution in the priors at the search root.
    """

    exploration: float = 2.0
    similarity: float = 0.95
    similarity_weight: float = 0.2
    variance: float = 0.03
    most_children: int = 20
    uniform: float = 0.25

    def __post_init__(self) -> None:
        for name in ("exploration", "similarity_weight", "variance"):
            if getattr(self, name) < 0:
                raise InvalidSetting(f"got {name}={getattr(self, name)}, expected at least 0")
        if not 0 <= self.uniform <= 1:
            raise InvalidSetting(f"got uniform={self.uniform}, expected 0 to 1")
        if self.most_children < 1:
            raise InvalidSetting(f"got most_children={self.most_children}, expected at least 1")
