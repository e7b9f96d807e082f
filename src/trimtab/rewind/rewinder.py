"""Many searches together: at each turn, what all of them want is written and judged as batches."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from trimtab.engines.base import Engine
from trimtab.frozen.memory import Memory, Spent
from trimtab.rewind.draft import Judged
from trimtab.rewind.judge import Judge
from trimtab.rewind.search import Search
from trimtab.rewind.settings import Budget
from trimtab.rewind.similarity import Similarity
from trimtab.rewind.writing import Asked, Writer


@final
@dataclass(frozen=True)
class Turn:
    """What a user sees while a search goes on.

    Attributes:
        searches: all of them.
        spent: what went through the models so far.
        seconds: since the start.
    """

    searches: Sequence[Search]
    spent: Spent
    seconds: float


Progress = Callable[[Turn], None]


@final
class Rewinder:
    """Runs searches.

    Args:
        engine: what remembers.
        memory: its memory, which counts.
        writer: what writes branches and drafts.
        judge: who scores drafts.
        similarity: what compares branches.
    """

    def __init__(self, engine: Engine, memory: Memory, writer: Writer, judge: Judge, similarity: Similarity):
        self._engine, self._memory, self._writer = engine, memory, writer
        self._judge, self._similarity = judge, similarity

    def run(self, searches: Sequence[Search], budget: Budget, progress: Progress = lambda turn: None) -> Turn:
        """Search until all texts are finished or the budget is spent; Ctrl-C ends them with the best drafts so far.

        Returns:
            The last turn.
        """
        start, before = time.monotonic(), self._memory.spent
        try:
            while asked := [(search, want) for search in searches for want in search.wants()]:
                self._turn(asked)
                turn = Turn(searches, self._memory.spent - before, time.monotonic() - start)
                progress(turn)
                for search in searches:
                    if not search.finished and _spent(turn, budget):
                        search.stop("budget")
        except KeyboardInterrupt:
            for search in searches:
                if not search.finished:
                    search.stop("interrupted")
        return Turn(searches, self._memory.spent - before, time.monotonic() - start)

    def _turn(self, asked: Sequence[Asked]) -> None:
        rollouts = self._writer.write(asked)
        if not rollouts:
            return
        drafts = [rollout.draft for _, _, rollout in rollouts]
        scores = self._judge.score(drafts, self._engine)
        embeddings = self._similarity.embed(drafts, self._engine)
        for (search, node, rollout), score, of_draft in zip(rollouts, scores, embeddings, strict=True):
            search.judged[node] = Judged(rollout.draft, score, rollout.choices, rollout.text, of_draft)


def _spent(turn: Turn, budget: Budget) -> bool:
    limits = (
        (turn.spent.tokens, budget.max_encoded),
        (turn.seconds, budget.max_seconds),
    )
    return any(limit is not None and value >= limit for value, limit in limits)
