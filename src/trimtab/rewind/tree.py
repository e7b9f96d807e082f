"""The tree of a search (RAIN, 2309.07124 §3): selection, widening, backup and commit, without a model.

A node is a token set: a few tokens that continue the text of its parent. The root is the text committed so far.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import final

import numpy as np
from jaxtyping import Float

from trimtab.rewind.rewind_settings import RewindSettings

Embedding = Float[np.ndarray, " size"]
EPSILON = 1e-5  # keeps the range of q above 0
LOWEST, HIGHEST = -1.0, 1.0  # initial range of q: the range of a self-evaluation


@final
@dataclass(eq=False)
class Node:
    """A token set.

    Attributes:
        tokens: the tokens that it adds to the text of its parent.
        weight: the product of its tokens' renormalised probabilities; its prior is proportional to it.
        depth: number of token sets above it, counted from the first root. A commit does not change it.
        parent: None for the root.
        children: in the order in which they were added.
        visits: n, including fractions of visits to similar siblings.
        real_visits: number of iterations that went through it.
        value: q, the mean score of its visits.
        embedding_sum: the sum of the sentence embeddings of the drafts judged below it; None before the first.
        embedding_count: the number of embeddings in that sum.
        ended: no token can follow it.
        cannot_widen: the last attempt to widen it gave a child that it already had.
    """

    tokens: tuple[int, ...]
    weight: float
    depth: int
    parent: "Node | None" = None
    children: list["Node"] = field(default_factory=list)
    visits: float = 0.0
    real_visits: int = 0
    value: float = 0.0
    embedding_sum: Embedding | None = None
    embedding_count: int = 0
    ended: bool = False
    cannot_widen: bool = False

    @property
    def embedding(self) -> Embedding | None:
        """Return e, the mean embedding of the drafts judged below it; None before the first."""
        return None if self.embedding_sum is None else self.embedding_sum / self.embedding_count

    def add_embedding(self, embedding: Embedding) -> None:
        """Include the embedding of a draft in the mean."""
        self.embedding_sum = embedding if self.embedding_sum is None else self.embedding_sum + embedding
        self.embedding_count += 1

    def add_score(self, score: float, weight: float = 1.0) -> None:
        """Include a score in the mean (eq. 2). A visit has weight 1."""
        self.visits += weight
        self.value += weight * (score - self.value) / self.visits

    def child(self, tokens: Sequence[int], weight: float, ended: bool = False) -> "Node":
        """Return a node below this one, without adding it to the children."""
        return Node(tuple(tokens), weight, self.depth + 1, self, ended=ended)

    def add_child(self, tokens: Sequence[int], weight: float) -> "Node":
        """Add a child and return it: expansion (step 3), or widening (step 2) if the node has children."""
        self.children.append(self.child(tokens, weight))
        return self.children[-1]

    def path(self) -> list["Node"]:
        """Return the nodes from the root to this one."""
        above = self.parent.path() if self.parent else []
        return [*above, self]

    def subtree(self) -> Iterator["Node"]:
        """Yield this node and all nodes below it."""
        yield self
        for child in self.children:
            yield from child.subtree()


@final
class Tree:
    """The nodes of one search, and the range of q that normalises the values.

    Args:
        settings: exploration, similarity and widening.
    """

    def __init__(self, settings: RewindSettings | None = None):
        self.settings = settings or RewindSettings()
        self.root = Node((), 1.0, 0)
        self.lowest, self.highest = LOWEST, HIGHEST

    def select(self) -> list[Node]:
        """Step 1: return the path from the root to a leaf, along the child with the largest upper bound (eq. 1).

        The path ends early at a node that should be widened (step 2).
        """
        node = self.root
        path = [node]
        while node.children and not self.should_widen(node):
            node = max(node.children, key=self.upper_bound)
            path.append(node)
        return path

    def upper_bound(self, node: Node) -> float:
        """Return q̂ + c · p · √N / (1 + n), where N are the visits of the parent (eq. 1)."""
        assert node.parent is not None
        bonus = self.settings.exploration * self.prior(node) * math.sqrt(node.parent.visits) / (1 + node.visits)
        return self.normalised_value(node) + bonus

    def normalised_value(self, node: Node) -> float:
        """Return q̂: q scaled to [0, 1] by the lowest and highest q so far; 0 before the first visit."""
        return (node.value - self.lowest) / (self.highest - self.lowest + EPSILON) if node.visits else 0.0

    def should_widen(self, node: Node) -> bool:
        """Step 2: return whether all children are bad and their embeddings are similar.

        A child that holds nothing but an EOS has no embedding and is ignored.
        """
        children = node.children
        if node.cannot_widen or not children or len(children) >= self.settings.max_children:
            return False
        if max(child.value for child in children) >= 0:
            return False
        with_text = [child for child in children if not (child.ended and child.real_visits and child.embedding is None)]
        embeddings = [child.embedding for child in with_text]
        if len(embeddings) < 2 or any(embedding is None for embedding in embeddings):
            return False
        spread = np.linalg.norm(np.var(np.stack([e for e in embeddings if e is not None]), axis=0, ddof=1))
        return bool(spread < self.settings.variance * max(len(child.tokens) for child in children))

    def prior(self, node: Node) -> float:
        """Return p: the node's share of its siblings' weights; at the root, mixed with the uniform distribution."""
        assert node.parent is not None
        siblings = node.parent.children
        total = math.fsum(sibling.weight for sibling in siblings)
        own = node.weight / total if total > 0 else 1 / len(siblings)
        share = self.settings.uniform if node.parent is self.root else 0.0
        return (1 - share) * own + share / len(siblings)

    def backup(self, path: Sequence[Node], score: float) -> None:
        """Step 5: add the score of a draft to all nodes of its path, and by similarity to their siblings.

        Args:
            path: from the root to the node whose draft was judged.
            score: s, usually −1, 0 or 1.
        """
        for node in path:
            node.real_visits += 1
            node.add_score(score)
            self._update_range(node)
            for sibling in node.parent.children if node.parent else ():
                if sibling is not node and (weight := self._shared_weight(node, sibling)):
                    sibling.add_score(score, weight)
                    self._update_range(sibling)

    @contextmanager
    def simulation(self) -> Iterator[None]:
        """Undo all additions and backups of the `with` block when it ends."""
        known = {
            node: (node.visits, node.real_visits, node.value, node.cannot_widen, len(node.children))
            for node in self.root.subtree()
        }
        value_range = self.lowest, self.highest
        try:
            yield
        finally:
            for node in list(self.root.subtree()):
                before = known.get(node, (0.0, 0, 0.0, False, 0))
                node.visits, node.real_visits, node.value, node.cannot_widen, count = before
                del node.children[count:]
            self.lowest, self.highest = value_range

    def commit(self, child: Node) -> tuple[int, ...]:
        """Make a child of the root the new root. Its subtree and its statistics stay; its siblings are taken back.

        Returns:
            The committed tokens.
        """
        assert child.parent is self.root
        self.root = child
        child.parent = None
        return child.tokens

    def most_visited(self) -> Node | None:
        """Return the most visited child of the root; ties go to the higher value. None if the root has no child."""
        return max(self.root.children, key=lambda child: (child.real_visits, child.value), default=None)

    def _shared_weight(self, node: Node, sibling: Node) -> float:
        """Return the fraction of a visit to `node` that a sibling receives: γ · cosine above the threshold, else 0."""
        if node.embedding is None or sibling.embedding is None:
            return 0.0
        lengths = float(np.linalg.norm(node.embedding) * np.linalg.norm(sibling.embedding))
        cosine = float(node.embedding @ sibling.embedding) / lengths if lengths else 0.0
        return self.settings.similarity_weight * cosine if cosine > self.settings.similarity_threshold else 0.0

    def _update_range(self, node: Node) -> None:
        self.lowest, self.highest = min(self.lowest, node.value), max(self.highest, node.value)
