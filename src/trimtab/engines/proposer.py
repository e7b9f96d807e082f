"""The protocol of a proposer: what drafts the next tokens of a text, so that one forward call can check several."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from trimtab.engines.base import Request
from trimtab.engines.draft import Draft
from trimtab.models.kv_cache import KVCache
from trimtab.models.side_network import Reader
from trimtab.steering.rule import Candidates

SteerDraft = Callable[[Candidates], Tensor]  # of candidates, [rows, k], about the logits by which the loop will choose


@runtime_checkable
class ProposerState(Protocol):
    """The per-batch half of a proposer: the rows of one decode loop."""

    def propose(self, most: Sequence[int], steer: SteerDraft, branches: bool) -> list[Draft]:
        """Draft the next tokens of each row. A draft may be wrong, short or empty: it changes no text.

        Args:
            most: the longest draft of each row, in tokens that follow one another.
            steer: adds the rewards that are cheap to a draft's candidates; they answer as behind the last token that
                the language model has read. A row may have the candidates of several tokens.
            branches: whether a draft may have several tokens of which one may come next.

        Returns:
            Of the language model that is steered.
        """

    def append(self, tokens: Sequence[Sequence[int]]) -> None:
        """Append the tokens that were written to each row."""

    def select(self, rows: Sequence[int]) -> None:
        """Make row i what row `rows[i]` was: fork, re-order or drop rows."""

    def join(self, other: "ProposerState") -> None:
        """Append the rows of another state of the same proposer."""


@runtime_checkable
class Proposer(Protocol):
    """Drafts tokens: immutable, shared by all batches."""

    @property
    def cost(self) -> float:
        """Of a drafted token, in forward calls of the language model."""

    def reads(self, model: object) -> Reader | None:
        """What it reads from the cache of `model`, as `Reward.reads` says; None for nothing."""

    def start(self, requests: Sequence[Request], host: KVCache) -> ProposerState:
        """A new state: the n samples of the first request, then of the second, and so on.

        Args:
            requests: the rows.
            host: the cache of the loop that writes them, which has what `reads` named. When `propose` is called, it has
                every token of a row but the last.
        """
