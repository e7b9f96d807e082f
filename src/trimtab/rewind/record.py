"""The record of a search: for each commit, the branches that were tried, and which of them was kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from trimtab.rewind.judged_draft import JudgedDraft
from trimtab.rewind.tree import Node, Tree

DIGITS = 4  # of rounded priors, values and scores


@final
@dataclass(frozen=True)
class Branch:
    """A node of the tree at the time of a commit.

    Attributes:
        text: the text of its tokens.
        prior: p, its probability among its siblings.
        visits: number of iterations that went through it.
        value: q, the mean score of its visits, including scores that similar siblings shared.
        draft: the draft after it, written when it was a leaf; None if it was never judged.
        score: the judge's score of that draft, from −1 to 1.
        kept: whether it became part of the text.
        children: its visited children.
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
        """Return the number of judged drafts here and below."""
        return (self.score is not None) + sum(child.judged for child in self.children)


@final
@dataclass(frozen=True)
class Commit:
    """One commit: a turn of the outer loop.

    Attributes:
        text: the committed text.
        visits: visits of the root, including those it inherited.
        value: the mean score at the root.
        branches: the visited children of the root, most visited first, and the one that was kept.
        draft: the first draft, written at the root before any branch; None if there is none.
        score: the judge's score of that draft.
        final: the search ended early, so `text` is its best draft: the kept branches and the draft after the last one.
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
        """Return the number of judged drafts on branches that were not kept."""

        def count_discarded(branch: Branch) -> int:
            if not branch.kept:
                return branch.judged
            return sum(map(count_discarded, branch.children)) if self.final else 0

        return sum(map(count_discarded, self.branches))


def record_branches(
    tree: Tree, judged: Mapping[Node, JudgedDraft], decode: Callable[[Sequence[int]], str], kept: Node | None = None
) -> tuple[Branch, ...]:
    """Record the visited children of the root, most visited first, with all that is visited below them.

    Args:
        tree: the tree.
        judged: the judged draft of each node.
        decode: turns token ids into text.
        kept: a node that is about to be committed; None while nothing is decided.
    """
    path = [] if kept is None else kept.path()

    def branch(node: Node) -> Branch:
        known = judged.get(node) if node.real_visits else None
        return Branch(
            text=decode(node.tokens),
            prior=round(tree.prior(node), DIGITS),
            visits=node.real_visits,
            value=round(node.value, DIGITS),
            draft=known.rollout_text if known else None,
            score=round(known.score, DIGITS) if known else None,
            kept=node in path,
            children=tuple(branch(child) for child in ranked(node) if child.real_visits),
        )

    def ranked(node: Node) -> list[Node]:
        return sorted(node.children, key=lambda child: (-child.real_visits, -child.value))

    return tuple(branch(child) for child in ranked(tree.root) if child.real_visits or child is kept)


def record_commit(
    tree: Tree, judged: Mapping[Node, JudgedDraft], decode: Callable[[Sequence[int]], str], kept: Node, final: bool
) -> Commit:
    """Record the tree right before a commit.

    Args:
        tree: the tree.
        judged: the judged draft of each node.
        decode: turns token ids into text.
        kept: the child of the root that is committed or, if `final`, the node whose draft ends the text.
        final: whether the search ends early with the draft of `kept`.
    """
    root = tree.root
    first = judged.get(root) if root.real_visits else None
    text = decode([token for node in kept.path()[1:] for token in node.tokens])
    return Commit(
        text=text + judged[kept].rollout_text if final else text,
        visits=root.real_visits,
        value=round(root.value, DIGITS),
        branches=record_branches(tree, judged, decode, kept),
        draft=first.rollout_text if first else None,
        score=round(first.score, DIGITS) if first else None,
        final=final,
    )
