"""One search: RAIN's inner and outer loop over a tree (2309.07124 §3), without a model.

A search asks for drafts and branches by `pending`; a writer and a judge answer.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, final

from trimtab.engines.base import Choice, FinishReason
from trimtab.models.codec import Prompt
from trimtab.rewind.judged_draft import JudgedDraft
from trimtab.rewind.record import Branch, Commit, record_branches, record_commit
from trimtab.rewind.rewind_settings import RewindSettings
from trimtab.rewind.tree import HIGHEST, Node, Tree

Kind = Literal["draft", "children", "another"]


@final
@dataclass(frozen=True)
class SearchRequest:
    """Something that a search needs before it can continue.

    Attributes:
        kind: "draft" (the judged draft of a node), "children" (its branches) or "another" (one branch more: widening).
        node: the node.
        number: for "another", how many children the node has.
    """

    kind: Kind
    node: Node
    number: int = 0


@final
@dataclass(frozen=True)
class NewBranch:
    """A branch that was written for a node.

    Attributes:
        choices: its tokens, each with its candidates.
        weight: the product of its tokens' probabilities; its prior is proportional to it.
        ended: why no token can follow; None if one can.
    """

    choices: tuple[Choice, ...]
    weight: float
    ended: FinishReason | None

    @property
    def tokens(self) -> tuple[int, ...]:
        """Return the token ids."""
        return tuple(choice.token_id for choice in self.choices)


@final
class Search:
    """The search of one prompt.

    It runs until it needs a draft or branches, and then asks for them. Drafts and branches depend on the node and the
    seed only, so the search is the same whenever they are written and with whatever else in the batch.

    Args:
        prompt: the text to continue, or the conversation to answer.
        prompt_ids: its token ids.
        seed: the seed of all sampling noise.
        limit: maximum number of new tokens.
        settings: settings of the search.
        decode: turns token ids into text, for the record.
        max_iterations: maximum number of iterations; None for no limit.

    Attributes:
        tree: the nodes and their statistics.
        written: the branch of each node.
        judged: the judged draft of each node; the runner adds them.
        choices: the committed tokens, each with its candidates.
        finish_reason: why the text ended; None while the search runs.
        iterations: number of iterations so far.
        commits: the record of each commit.
    """

    def __init__(
        self,
        prompt: Prompt,
        prompt_ids: tuple[int, ...],
        seed: int,
        limit: int,
        settings: RewindSettings,
        decode: Callable[[Sequence[int]], str],
        max_iterations: int | None = None,
    ):
        self.prompt, self.prompt_ids, self.seed, self.limit = prompt, prompt_ids, seed, limit
        self.settings, self._decode, self._max_iterations = settings, decode, max_iterations
        self.tree = Tree(settings)
        self.written: dict[Node, NewBranch] = {}
        self.judged: dict[Node, JudgedDraft] = {}
        self.choices: tuple[Choice, ...] = ()
        self.finish_reason: FinishReason | None = None
        self.iterations = 0
        self.commits: list[Commit] = []
        self._answers: dict[SearchRequest, list[Node]] = {}
        self._iterations_left = settings.iterations  # before the next commit

    @property
    def finished(self) -> bool:
        """Return whether the text is complete."""
        return self.finish_reason is not None

    @property
    def token_ids(self) -> tuple[int, ...]:
        """Return the committed token ids."""
        return tuple(choice.token_id for choice in self.choices)

    @property
    def branches(self) -> tuple[Branch, ...]:
        """Return the branches that were tried since the last commit."""
        return record_branches(self.tree, self.judged, self._decode)

    @property
    def _budget_left(self) -> float:
        return math.inf if self._max_iterations is None else self._max_iterations - self.iterations

    @property
    def best(self) -> Node | None:
        """Return the visited node with the best draft; ties go to the most visited one. None before the first visit."""
        visited = [node for node in self.tree.root.subtree() if node.real_visits]
        return max(visited, key=lambda node: (self.judged[node].score, node.real_visits), default=None)

    def pending(self) -> list[SearchRequest]:
        """Continue the search as far as possible, and return what it needs next.

        Returns:
            At most `lookahead` requests. The search needs the first one now, and probably needs the others soon. The
            list is empty once the text is complete.
        """
        missing = self._advance()
        return [] if missing is None else list(dict.fromkeys([missing, *self._expected()]))[: self.settings.lookahead]

    def grow(self, request: SearchRequest, children: Sequence[NewBranch]) -> None:
        """Answer a request for branches. They join the tree when the search reaches the node."""
        nodes = [request.node.child(child.tokens, child.weight, child.ended is not None) for child in children]
        self.written |= zip(nodes, children, strict=True)
        self._answers[request] = nodes

    def stop(self, reason: Literal["budget", "interrupted"]) -> None:
        """End the search with the best draft so far."""
        if self._budget_left > 0:
            self._advance()
        if self.finished:
            return
        best = self.best
        if best is not None:
            self._take(best)
        self.finish_reason = reason

    def _take(self, node: Node) -> None:
        """Make the judged draft of a node the text."""
        self.commits.append(record_commit(self.tree, self.judged, self._decode, node, final=True))
        self.choices = self.judged[node].choices

    def _advance(self) -> SearchRequest | None:
        """Run the loops until something is missing, and return that; None once the text is complete."""
        while not self.finished:
            if self._budget_left <= 0:
                self.stop("budget")
                return None
            missing = self._commit() if self._should_commit() else self._iterate()
            if missing is not None:
                return missing
        return None

    def _should_commit(self) -> bool:
        """Return whether to commit: the most visited branch is good enough, or no iterations are left."""
        most_visited, settings = self.tree.most_visited(), self.settings
        good_enough = (
            most_visited is not None
            and most_visited.real_visits > settings.min_visits
            and most_visited.value > settings.min_value
        )
        return good_enough or self._iterations_left <= 0

    def _iterate(self) -> SearchRequest | None:
        """Run one iteration of the inner loop (select, evaluate, back up), or return what is missing for it."""
        path, missing = self._select()
        if missing is not None:
            return missing
        judged, below = self.judged[path[-1]], path[1:]
        for node, embedding in zip(below, judged.embeddings[len(judged.embeddings) - len(below) :], strict=False):
            node.add_embedding(embedding)
        self.tree.backup(path, judged.score)
        self.iterations += 1
        self._iterations_left -= 1
        if self.settings.whole_drafts and judged.score >= HIGHEST:
            self._take(path[-1])
            self.finish_reason = judged.ended
        return None

    def _select(self) -> tuple[list[Node], SearchRequest | None]:
        """Return the path to a leaf with a judged draft, or the path so far and what is missing at its end.

        A leaf is expanded when the search returns to it, so that no unused branches are written. Differs from the
        paper's code, which expands a leaf at once; the search is the same.
        """
        while True:
            path = self.tree.select()
            leaf = path[-1]
            request = SearchRequest("draft", leaf)
            if leaf.children:
                request = SearchRequest("another", leaf, len(leaf.children))
            elif leaf.real_visits and not leaf.ended:
                request = SearchRequest("children", leaf)
            elif leaf in self.judged:
                return path, None
            if request not in self._answers:
                return path, request
            self._add_children(request)

    def _add_children(self, request: SearchRequest) -> None:
        """Step 3 or step 2: add children to the tree. If the node has them all already, it is never widened again."""
        node = request.node
        present = {child.tokens for child in node.children}
        new = [child for child in self._answers[request] if child.tokens not in present]
        node.children += new
        node.cannot_widen = node.cannot_widen or not new

    def _commit(self) -> SearchRequest | None:
        """Run one turn of the outer loop (commit the most visited child), or return what is missing for it."""
        most_visited = self.tree.most_visited()
        if most_visited is None:
            request = SearchRequest("children", self.tree.root)
            if request not in self._answers:
                return request
            self._add_children(request)
            return None
        self.commits.append(record_commit(self.tree, self.judged, self._decode, most_visited, final=False))
        self.choices += self.written[most_visited].choices
        self.tree.commit(most_visited)
        self.finish_reason = self.written[most_visited].ended
        self._forget()
        inherited = most_visited.real_visits
        self._iterations_left = max(self.settings.iterations - inherited, self.settings.fresh_iterations)
        return None

    def _forget(self) -> None:
        """Drop the branches and drafts of nodes that were taken back."""
        live = set(self.tree.root.subtree())
        self._answers = {request: nodes for request, nodes in self._answers.items() if request.node in live}
        live.update(node for nodes in self._answers.values() for node in nodes)
        self.written = {node: known for node, known in self.written.items() if node in live}
        self.judged = {node: known for node, known in self.judged.items() if node in live}

    def _expected(self) -> Iterator[SearchRequest]:
        """Yield what the next iterations need if every unknown draft scores as much as the root on average."""
        with self.tree.simulation():
            for _ in range(int(min(2 * self.settings.lookahead, self._iterations_left, self._budget_left))):
                path, missing = self._select()
                if missing is not None:
                    yield missing
                known = self.judged.get(path[-1])
                self.tree.backup(path, known.score if known else self.tree.root.value)
