"""One search: RAIN's inner and outer loop over a tree, told what it asks for; no model in sight."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, final

from trimtab.engines.base import Choice, FinishReason
from trimtab.rewind.draft import Judged
from trimtab.rewind.record import Commit, record_commit
from trimtab.rewind.settings import RewindSettings
from trimtab.rewind.tree import Node, Tree

Kind = Literal["draft", "children", "another"]


@final
@dataclass(frozen=True)
class Want:
    """What a search cannot go on without: a node's judged draft, its children, or another child (widening).

    Attributes:
        kind: which of these.
        node: whose.
        number: for another child, how many there are.
    """

    kind: Kind
    node: Node
    number: int = 0


@final
@dataclass(frozen=True)
class Written:
    """What was written for a node: its tokens with what they were chosen from, and why nothing can follow, if so."""

    choices: tuple[Choice, ...]
    weight: float
    ended: FinishReason | None

    @property
    def tokens(self) -> tuple[int, ...]:
        """The tokens."""
        return tuple(choice.token_id for choice in self.choices)


@final
class Search:
    """The search of one prompt.

    It runs for as long as it knows what it needs, then says what it wants. Drafts and children depend on nothing but
    the node and the seed, so it does not matter who fetches them, when, and with what else.

    Args:
        prompt: what the user gave.
        prompt_ids: its tokens.
        seed: of all noise.
        limit: the most tokens to write.
        settings: how it goes.
        text: of token ids, for the record.
        most_iterations: a budget of drafts to judge; None for none.
    """

    def __init__(
        self,
        prompt: str,
        prompt_ids: tuple[int, ...],
        seed: int,
        limit: int,
        settings: RewindSettings,
        text: Callable[[Sequence[int]], str],
        most_iterations: int | None = None,
    ):
        self.prompt, self.prompt_ids, self.seed, self.limit = prompt, prompt_ids, seed, limit
        self.settings, self._text, self._most_iterations = settings, text, most_iterations
        self.tree = Tree(settings)
        self.written: dict[Node, Written] = {}
        self.judged: dict[Node, Judged] = {}
        self.choices: tuple[Choice, ...] = ()
        self.finish_reason: FinishReason | None = None
        self.iterations = 0
        self.commits: list[Commit] = []
        self._grown: dict[Want, list[Node]] = {}
        self._left = settings.iterations

    @property
    def finished(self) -> bool:
        """Whether its text is whole."""
        return self.finish_reason is not None

    @property
    def token_ids(self) -> tuple[int, ...]:
        """What is committed."""
        return tuple(choice.token_id for choice in self.choices)

    @property
    def _budget_left(self) -> float:
        return math.inf if self._most_iterations is None else self._most_iterations - self.iterations

    @property
    def best(self) -> Node | None:
        """Where the best draft below what is committed is; of equally good ones, the most visited node."""
        visited = [node for node in self.tree.root.all() if node.real_visits]
        return max(visited, key=lambda node: (self.judged[node].score, node.real_visits), default=None)

    def wants(self) -> list[Want]:
        """Run on with what is known, then say what is missing, and what will be if the search goes on as expected.

        Returns:
            At most `lookahead` wants, the first of which is needed now; none once the text is finished.
        """
        missing = self._advance()
        return [] if missing is None else list(dict.fromkeys([missing, *self._expected()]))[: self.settings.lookahead]

    def grow(self, want: Want, children: Sequence[Written]) -> None:
        """Answer a want for children; they are put into the tree when the search comes to it."""
        nodes = [want.node.child(child.tokens, child.weight, child.ended is not None) for child in children]
        self.written |= zip(nodes, children, strict=True)
        self._grown[want] = nodes

    def stop(self, reason: Literal["budget", "interrupted"]) -> None:
        """End here, with the best draft so far."""
        if self._budget_left > 0:
            self._advance()
        if self.finished:
            return
        best = self.best
        if best is not None:
            self.commits.append(record_commit(self.tree, self.judged, self._text, best, final=True))
            self.choices = self.judged[best].choices
        self.finish_reason = reason

    def _advance(self) -> Want | None:
        """The loops, until something is missing or the text is finished."""
        while not self.finished:
            if self._budget_left <= 0:
                self.stop("budget")
                return None
            missing = self._commit() if self._decided() else self._iterate()
            if missing is not None:
                return missing
        return None

    def _decided(self) -> bool:
        """Whether the favourite is good enough, or the iterations are used up."""
        favourite, s = self.tree.favourite(), self.settings
        if favourite is not None and favourite.real_visits > s.enough_visits and favourite.value > s.enough_value:
            return True
        return self._left <= 0

    def _iterate(self) -> Want | None:
        """One iteration of the inner loop: select, evaluate, back up."""
        path, missing = self._select()
        if missing is not None:
            return missing
        judged, below = self.judged[path[-1]], path[1:]
        for node, embedding in zip(below, judged.embeddings[len(judged.embeddings) - len(below) :], strict=False):
            node.embed(embedding)
        self.tree.backup(path, judged.score)
        self.iterations += 1
        self._left -= 1
        return None

    def _select(self) -> tuple[list[Node], Want | None]:
        """The path to a leaf whose draft is judged; or as far as it goes, and what is missing there.

        A leaf is expanded when the search comes back to it, so that only what is looked into is written. Differs from
        the paper's code, where it is expanded at once; the search is the same.
        """
        while True:
            path = self.tree.select()
            leaf = path[-1]
            want = Want("draft", leaf)
            if leaf.children:
                want = Want("another", leaf, len(leaf.children))
            elif leaf.real_visits and not leaf.ended:
                want = Want("children", leaf)
            elif leaf in self.judged:
                return path, None
            if want not in self._grown:
                return path, want
            self._put(want)

    def _put(self, want: Want) -> None:
        """Step 3 or step 2: children into the tree. One that is there already ends the widening of its parent."""
        node = want.node
        present = {child.tokens for child in node.children}
        new = [child for child in self._grown[want] if child.tokens not in present]
        node.children += new
        node.full = node.full or not new

    def _commit(self) -> Want | None:
        """One turn of the outer loop: the favourite becomes the root."""
        favourite = self.tree.favourite()
        if favourite is None:
            want = Want("children", self.tree.root)
            if want not in self._grown:
                return want
            self._put(want)
            return None
        self.commits.append(record_commit(self.tree, self.judged, self._text, favourite, final=False))
        self.choices += self.written[favourite].choices
        self.tree.commit(favourite)
        self.finish_reason = self.written[favourite].ended
        self._forget()
        s = self.settings
        self._left = max(s.iterations - favourite.real_visits, s.fresh_iterations)
        return None

    def _forget(self) -> None:
        """Drop what is known of nodes that were taken back."""
        live = set(self.tree.root.all())
        self._grown = {want: nodes for want, nodes in self._grown.items() if want.node in live}
        live.update(node for nodes in self._grown.values() for node in nodes)
        self.written = {node: known for node, known in self.written.items() if node in live}
        self.judged = {node: known for node, known in self.judged.items() if node in live}

    def _expected(self) -> Iterator[Want]:
        """What the next iterations will want, if every draft to come scores what the root did on average."""
        with self.tree.imagined():
            for _ in range(int(min(2 * self.settings.lookahead, self._left, self._budget_left))):
                path, missing = self._select()
                if missing is not None:
                    yield missing
                known = self.judged.get(path[-1])
                self.tree.backup(path, known.score if known else self.tree.root.value)
