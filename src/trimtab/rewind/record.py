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
        kept: it became part of the text.
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
        draft, score: what was written at the root before anything was known, and what the judge gave to it.
        final: the search was cut short, and its best draft kept: branches, and the draft at the last of them.
    """

    text: str
    visits: int
    value: float
    branches: tuple[Branch, ...]
    draft: str | None = None
    score: float | None = None
    final: bool = False

    @property
    def taken_back(self) -> int:
        """How many drafts were judged on branches that were given up here."""

        def given_up(branch: Branch) -> int:
            if not branch.kept:
                return branch.judged
            return sum(map(given_up, branch.children)) if self.final else 0

        return sum(map(given_up, self.branches))


def record_commit(
    tree: Tree, judged: Mapping[Node, Judged], text: Callable[[Sequence[int]], str], kept: Node, final: bool
) -> Commit:
    """What the tree is like right before a child of its root becomes the root, or the draft at a node the end."""
    path = kept.path()

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
            kept=node in path,
            children=tuple(branch(child) for child in ranked(node) if child.real_visits),
        )

    def ranked(node: Node) -> list[Node]:
        return sorted(node.children, key=lambda child: (-child.real_visits, -child.value))

    root = tree.root
    first = judged.get(root) if root.real_visits else None
    said = text([token for node in path[1:] for token in node.tokens])
    return Commit(
        text=said + judged[kept].rollout if final else said,
        visits=root.real_visits,
        value=round(root.value, DIGITS),
        branches=tuple(branch(child) for child in ranked(root) if child.real_visits or child is kept),
        draft=first.rollout if first else None,
        score=round(first.score, DIGITS) if first else None,
        final=final,
    )
