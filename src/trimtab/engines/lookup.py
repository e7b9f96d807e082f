"""Prompt lookup: drafts copied from the prompt and the text, where their last tokens occurred before."""

from collections.abc import Sequence
from typing import final

from trimtab.engines.base import Request
from trimtab.engines.draft import Draft
from trimtab.engines.proposer import ProposerState, SteerDraft
from trimtab.models.kv_cache import KVCache

LONGEST, SHORTEST = 4, 2  # tokens that must recur


@final
class PromptLookup:
    """Drafts what followed the last tokens of a text when they last occurred, in the prompt or in the text.

    It costs no model, and pays where a text copies: summaries, edits, code. As transformers'
    `prompt_lookup_num_tokens` (Saxena 2023). Differs from it: of several occurrences the last one counts, and a draft
    that reaches the end of the text continues in itself, so that a repeated passage is drafted at any length.
    """

    cost = 0.0

    def reads(self, model: object) -> None:
        """Nothing."""

    def start(self, requests: Sequence[Request], host: KVCache) -> ProposerState:
        """A state of the rows of some requests."""
        return LookupState([NgramIndex(each.tokens) for each in requests for _ in range(each.params.n)])


@final
class LookupState:
    """An index of the tokens of each row."""

    def __init__(self, rows: list["NgramIndex"]):
        self._rows = rows

    def propose(self, most: Sequence[int], steer: SteerDraft, branches: bool) -> list[Draft]:
        """Draft each row from its own tokens."""
        return [Draft.chain(row.continuation(length)) for row, length in zip(self._rows, most, strict=True)]

    def append(self, tokens: Sequence[Sequence[int]]) -> None:
        """Append tokens to each row."""
        for row, new in zip(self._rows, tokens, strict=True):
            row.extend(new)

    def select(self, rows: Sequence[int]) -> None:
        """Fork, re-order or drop rows."""
        firsts = {row: place for place, row in reversed(list(enumerate(rows)))}
        self._rows = [
            self._rows[row] if firsts[row] == place else self._rows[row].copy() for place, row in enumerate(rows)
        ]

    def join(self, other: ProposerState) -> None:
        """Append the rows of another state."""
        assert isinstance(other, LookupState)
        self._rows += other._rows


@final
class NgramIndex:
    """The tokens of one row, and where each of their runs was last followed by another token.

    Args:
        tokens: the first tokens.
    """

    def __init__(self, tokens: Sequence[int]):
        self._tokens: list[int] = []
        self._ends: dict[tuple[int, ...], int] = {}  # of a run: the place of the token behind it
        self.extend(tokens)

    def extend(self, tokens: Sequence[int]) -> None:
        """Append tokens. The run at the very end is not indexed: nothing follows it yet."""
        for token in tokens:
            for run in self._last_runs():
                self._ends[run] = len(self._tokens)
            self._tokens.append(token)

    def continuation(self, most: int) -> list[int]:
        """The tokens that followed the longest run at the end that occurred before; empty if there is none."""
        found = next((self._ends[run] for run in self._last_runs() if run in self._ends), None)
        if found is None or most <= 0:
            return []
        period = len(self._tokens) - found
        copied = self._tokens[found : found + most]
        return [copied[place % period] for place in range(most)]

    def copy(self) -> "NgramIndex":
        """The same tokens, to be continued apart."""
        other = NgramIndex([])
        other._tokens, other._ends = list(self._tokens), dict(self._ends)
        return other

    def _last_runs(self) -> list[tuple[int, ...]]:
        """The runs at the end, the longest first."""
        longest = min(LONGEST, len(self._tokens))
        return [tuple(self._tokens[-length:]) for length in range(longest, SHORTEST - 1, -1)]
