"""What a search leaves behind for the reader: for each commit, what was tried, what was kept, what was taken back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from trimtab.rewind.draft import Judged
from trimtab.rewind.tree import Node, Tree

DIGITS = 4


@final
@dataclass(frozen=True)
class Branch:
    """A node of the tree as it was when something was committed.

    Attributes:
        text: of its tokens.
        prior: p, among its siblings.
        visits: how often the search went through it.
        value: q, the mean score of its visits and of what siblings shared.
        draft: what was written behind it when it was a leaf; None if it never was.
        score: what the judge gave to that.
        kept: it was committed; everything else here was taken back.
        children: those that were visited.
    """

    text: str
    prior: float
    visits: int
    value: float
    draft: str | None
    score: float | None
    kept: bool
    children: tuple["Branch", ...]

    @property
    def judged(self) -> int:
        """How many drafts were judged here and below."""
        return (self.score is not None) + sum(child.judged for child in self.children)


@final
@dataclass(frozen=True)
class Commit:
    """A turn of the outer loop.

    Attributes:
        text: what was committed.
        visits: of the root, the inherited ones included.
        value: the mean score at the root.
        branches: the children of the root that were visited, the most visited first, and the one that was kept.
    """

    text: str
    visits: int
    value: float
    branches: tuple[Branch, ...]

    @property
    def taken_back(self) -> int:
        """How many judged drafts were not on the way that was kept."""
        return sum(branch.judged for branch in self.branches if not branch.kept)


def record_commit(
    tree: Tree, judged: Mapping[Node, Judged], text: Callable[[Sequence[int]], str], kept: Node | Judged
) -> Commit:
    """What the tree is like right before a child of its root becomes the root, or a draft ends the search."""

    def branch(node: Node) -> Branch:
        known = judged.get(node)
        seen = node.real_visits > 0
        return Branch(
            text=text(node.tokens),
            prior=round(tree.prior(node), DIGITS),
            visits=node.real_visits,
            value=round(node.value, DIGITS),
            draft=known.rollout if known and seen else None,
            score=round(known.score, DIGITS) if known and seen else None,
            kept=node is kept or known is kept,
            children=tuple(branch(child) for child in ranked(node) if child.real_visits),
        )

    def ranked(node: Node) -> list[Node]:
        return sorted(node.children, key=lambda child: (-child.real_visits, -child.value))

    root = tree.root
    return Commit(
        text=text(kept.tokens) if isinstance(kept, Node) else kept.rollout,
        visits=root.real_visits,
        value=round(root.value, DIGITS),
        branches=tuple(branch(child) for child in ranked(root) if child.real_visits or child is kept),
    )
