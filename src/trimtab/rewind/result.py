"""What a user gets from a search: the text, and how it came about."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, final

from trimtab.engines.base import Continuation
from trimtab.frozen.lm import FrozenLM
from trimtab.frozen.memory import Spent
from trimtab.generation import Generation, Trace
from trimtab.rewind.record import Commit
from trimtab.rewind.search import Search


@final
class Rewound:
    """A continuation that was searched for.

    Attributes:
        generation: the continuation as any other, with its trace; its finish reason may also be "budget" or
            "interrupted".
        commits: the turns of the outer loop, each with everything that was tried.
        iterations: of the inner loop; each judges a draft, or counts that of a branch that has ended once more.
        spent: what went through the models, for all prompts of the call together.
        seconds: how long that took.
    """

    def __init__(self, lm: FrozenLM, search: Search, stop: Sequence[str], spent: Spent, seconds: float):
        assert search.finish_reason is not None
        self.generation = Generation(lm, search.prompt, Continuation(search.choices, search.finish_reason), stop)
        self.commits: tuple[Commit, ...] = tuple(search.commits)
        self.iterations = search.iterations
        self.spent, self.seconds = spent, seconds

    def __repr__(self) -> str:
        return f"Rewound({self.text!r}, {self.finish_reason!r}, iterations={self.iterations})"

    @property
    def prompt(self) -> str:
        """What was continued."""
        return self.generation.prompt

    @property
    def text(self) -> str:
        """The continuation."""
        return self.generation.text

    @property
    def token_ids(self) -> list[int]:
        """Its tokens."""
        return self.generation.token_ids

    @property
    def finish_reason(self) -> str:
        """Why it ends: "eos", "stop", "length", "budget" or "interrupted"."""
        return self.generation.finish_reason

    @property
    def trace(self) -> Trace:
        """Token by token: the candidates, their base log-probabilities and their rewards."""
        return self.generation.trace

    @property
    def taken_back(self) -> int:
        """How many judged drafts led elsewhere than where the text went."""
        return sum(commit.taken_back for commit in self.commits)

    def as_dict(self) -> dict[str, Any]:
        """The text and the whole search, as JSON has it."""
        return {
            "prompt": self.prompt,
            "text": self.text,
            "token_ids": self.token_ids,
            "finish_reason": self.finish_reason,
            "iterations": self.iterations,
            "taken_back": self.taken_back,
            "commits": [asdict(commit) for commit in self.commits],
        }
