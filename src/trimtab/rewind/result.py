"""The result of a search: the text, and everything that was tried on the way."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import final

from trimtab.engines.base import Continuation
from trimtab.generation import Generation, Trace
from trimtab.models.codec import Prompt, TextCodec
from trimtab.models.usage import Usage
from trimtab.rewind.record import Commit
from trimtab.rewind.search import Search


@final
class SearchResult:
    """A continuation that was found by a search.

    Attributes:
        generation: the continuation with its trace; its finish reason may also be "budget" or "interrupted".
        commits: the turns of the outer loop, each with everything that was tried.
        iterations: of the inner loop; each judges a draft, or counts the draft of an ended branch once more.
        usage: what went through the models, for all prompts of the call together.
        seconds: the time that the call took.

    A pickle holds the text, its trace and the commits, and neither the model nor the tokenizer.

    Args:
        codec: decodes the tokens.
        prompt: the prompt.
        search: a finished search.
        stop: the strings that end a text.
        usage, seconds: see above.
        provenance: gives the record of what wrote it; default: an empty one.
    """

    def __init__(
        self,
        codec: TextCodec,
        prompt: Prompt,
        search: Search,
        stop: Sequence[str],
        usage: Usage,
        seconds: float,
        provenance: Callable[[], Mapping[str, object]] = dict,
    ):
        assert search.finish_reason is not None
        found = Continuation(search.choices, search.finish_reason)
        self.generation = Generation(codec, prompt, [found], stop, provenance)
        self.commits: tuple[Commit, ...] = tuple(search.commits)
        self.iterations = search.iterations
        self.usage, self.seconds = usage, seconds

    def __repr__(self) -> str:
        return f"SearchResult({self.text!r}, {self.finish_reason!r}, iterations={self.iterations})"

    @property
    def prompt(self) -> Prompt:
        """The text or conversation that was continued."""
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
    def provenance(self) -> dict[str, object]:
        """What wrote it, ready for JSON: versions, model, steer, judge, similarity, settings, budget, stop and seed."""
        return self.generation.provenance

    @property
    def trace(self) -> Trace:
        """Token by token: the candidates, their base log-probabilities and their rewards."""
        return self.generation.trace

    @property
    def taken_back(self) -> int:
        """How many judged drafts are not part of the text."""
        return sum(commit.taken_back for commit in self.commits)

    def as_dict(self) -> dict[str, object]:
        """The text, the whole search and its provenance, ready for JSON."""
        return {
            "prompt": self.prompt if isinstance(self.prompt, str) else [dict(message) for message in self.prompt],
            "text": self.text,
            "token_ids": self.token_ids,
            "finish_reason": self.finish_reason,
            "iterations": self.iterations,
            "taken_back": self.taken_back,
            "commits": [asdict(commit) for commit in self.commits],
            "provenance": self.provenance,
        }
