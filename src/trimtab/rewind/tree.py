"""The tree of a search (RAIN, 2309.07124 §3): selection, widening, backup, re-rooting. No model in sight.

A node is a token set, a short run of tokens behind its parent's text. The root is the text committed so far.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import final

import numpy as np
from jaxtyping import Float

from trimtab.rewind.settings import RewindSettings

Embedding = Float[np.ndarray, " size"]
TINY = 1e-5
LEAST, MOST = -1.0, 1.0  # where the running extrema of q start: the range of a self-evaluation


@final
@dataclass(eq=False)
class Node:
    """A token set.

    Attributes:
        tokens: what it adds to its parent's text.
        weight: what its prior is in proportion to: the product of its tokens' renormalised probabilities.
        ended: nothing can follow it.
        depth: token sets from the first root on; it does not change when a child becomes the root.
        parent: None for the root.
        children: in the order in which they were added.
        visits: n, with the fractions of visits that came from similar siblings.
        real_visits: how often a search went through.
        value: q, the mean score of its visits.
        embedding_sum, embedded: of the sentence embeddings of the drafts judged below it, and how many they were.
        full: it cannot be widened: what was to be added was there already.
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
    embedded: int = 0
    ended: bool = False
    full: bool = False

    @property
    def embedding(self) -> Embedding | None:
        """e: the mean embedding of the drafts below; None before the first."""
        return None if self.embedding_sum is None else self.embedding_sum / self.embedded

    def embed(self, embedding: Embedding) -> None:
        """Take a draft's embedding into the mean."""
        self.embedding_sum = embedding if self.embedding_sum is None else self.embedding_sum + embedding
        self.embedded += 1

    def take(self, score: float, weight: float = 1.0) -> None:
        """Move the mean by a score of some weight (eq. 2; weight 1 is a visit)."""
        self.visits += weight
        self.value += weight * (score - self.value) / self.visits

    def child(self, tokens: Sequence[int], weight: float, ended: bool = False) -> "Node":
        """A node that may become a child of this one."""
        return Node(tuple(tokens), weight, self.depth + 1, self, ended=ended)

    def add(self, tokens: Sequence[int], weight: float) -> "Node":
        """Step 3, or step 2 for a node that has children: a new child."""
        self.children.append(self.child(tokens, weight))
        return self.children[-1]

    def path(self) -> list["Node"]:
        """From the root to here."""
        above = self.parent.path() if self.parent else []
        return [*above, self]

    def all(self) -> Iterator["Node"]:
        """This node and everything below it."""
        yield self
        for child in self.children:
            yield from child.all()


@final
class Tree:
    """One search: nodes, and the extrema of q that normalise it.

    Args:
        settings: how it grows.
    """

    def __init__(self, settings: RewindSettings | None = None):
        self.settings = settings or RewindSettings()
        self.root = Node((), 1.0, 0)
        self.least, self.most = LEAST, MOST

    def select(self) -> list[Node]:
        """Step 1: the path from the root to a leaf, by the largest upper bound at each node (eq. 1).

        It stops early at a node that may be widened (step 2).
        """
        node = self.root
        path = [node]
        while node.children and not self.may_widen(node):
            node = max(node.children, key=self.bound)
            path.append(node)
        return path

    def bound(self, node: Node) -> float:
        """q̂ + c · p · √N / (1 + n), where N is the parent's visits (eq. 1); q̂ is 0 before the first visit."""
        assert node.parent is not None
        drive = self.settings.exploration * self.prior(node) * math.sqrt(node.parent.visits) / (1 + node.visits)
        return self.normalised(node) + drive

    def normalised(self, node: Node) -> float:
        """q̂: q between the extrema seen so far."""
        return (node.value - self.least) / (self.most - self.least + TINY) if node.visits else 0.0

    def may_widen(self, node: Node) -> bool:
        """Step 2: all children are bad, and say much the same: their embeddings hardly vary.

        A child that is an EOS alone says nothing, and is left out.
        """
        children = node.children
        if node.full or not children or len(children) >= self.settings.most_children:
            return False
        if max(child.value for child in children) >= 0:
            return False
        telling = [child for child in children if not (child.ended and child.real_visits and child.embedding is None)]
        embeddings = [child.embedding for child in telling]
        if len(embeddings) < 2 or any(embedding is None for embedding in embeddings):
            return False
        spread = np.linalg.norm(np.var(np.stack([e for e in embeddings if e is not None]), axis=0, ddof=1))
        return bool(spread < self.settings.variance * max(len(child.tokens) for child in children))

    def prior(self, node: Node) -> float:
        """p: a node's part of its siblings' weights, at the search root mixed with the uniform distribution."""
        assert node.parent is not None
        siblings = node.parent.children
        total = math.fsum(sibling.weight for sibling in siblings)
        own = node.weight / total if total > 0 else 1 / len(siblings)
        share = self.settings.uniform if node.parent is self.root else 0.0
        return (1 - share) * own + share / len(siblings)

    def backup(self, path: Sequence[Node], score: float) -> None:
        """Step 5: a judgement of the draft below the last node of a path counts for all of it, and for what is alike.

        Args:
            path: from the root to the node that was judged.
            score: s, usually −1, 0 or 1.
        """
        for node in path:
            node.real_visits += 1
            node.take(score)
            self._see(node)
            for sibling in node.parent.children if node.parent else ():
                if sibling is not node and (weight := self._shared(node, sibling)):
                    sibling.take(score, weight)
                    self._see(sibling)

    @contextmanager
    def imagined(self) -> Iterator[None]:
        """What is added and backed up within is undone afterwards."""
        known = {
            node: (node.visits, node.real_visits, node.value, node.full, len(node.children)) for node in self.root.all()
        }
        extrema = self.least, self.most
        try:
            yield
        finally:
            for node in list(self.root.all()):
                before = known.get(node, (0.0, 0, 0.0, False, 0))
                node.visits, node.real_visits, node.value, node.full, count = before
                del node.children[count:]
            self.least, self.most = extrema

    def commit(self, child: Node) -> tuple[int, ...]:
        """Make a child of the root the root: its subtree and statistics stay, all else is taken back.

        Returns:
            The tokens committed.
        """
        assert child.parent is self.root
        self.root = child
        child.parent = None
        return child.tokens

    def favourite(self) -> Node | None:
        """The most visited child of the root; of equally visited ones, that of the higher value."""
        return max(self.root.children, key=lambda child: (child.real_visits, child.value), default=None)

    def _shared(self, node: Node, sibling: Node) -> float:
        """The part of a visit to `node` that counts for a sibling: γ · cosine, where that is above the threshold."""
        if node.embedding is None or sibling.embedding is None:
            return 0.0
        lengths = float(np.linalg.norm(node.embedding) * np.linalg.norm(sibling.embedding))
        cosine = float(node.embedding @ sibling.embedding) / lengths if lengths else 0.0
        return self.settings.similarity_weight * cosine if cosine > self.settings.similarity_threshold else 0.0

    def _see(self, node: Node) -> None:
        self.least, self.most = min(self.least, node.value), max(self.most, node.value)
