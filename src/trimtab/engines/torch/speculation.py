"""Speculation: drafts for the rows of a decode loop, and how far each row's are trusted."""

from collections.abc import Sequence
from typing import final

from jaxtyping import Int
from torch import Tensor

from trimtab.engines.base import Request
from trimtab.engines.draft import Draft
from trimtab.engines.draft_length import MOST_DRAFTED, Acceptance, Balance, check_cost, draft_length, draft_size
from trimtab.engines.proposer import Proposer, SteerDraft
from trimtab.engines.torch.sampling import RowSampling
from trimtab.models.kv_cache import KVCache
from trimtab.steering.rule import Candidates


@final
class Speculation:
    """Drafts for the rows of a loop, as long as pays.

    Args:
        proposer: drafts the tokens.
        requests: the rows.
        host: the cache of the loop that checks them.
    """

    def __init__(self, proposer: Proposer, requests: Sequence[Request], host: KVCache):
        self._state, self._cost = proposer.start(requests, host), check_cost(host.model, proposer.cost)
        self._seen = [Acceptance() for request in requests for _ in range(request.params.n)]
        self._balance = Balance()
        self._deep = 0  # how many tokens of the drafts that are being checked follow one another

    def propose(self, rooms: Sequence[int], steer: SteerDraft, branches: bool) -> list[Draft]:
        """A draft for each row; empty where none pays.

        Args:
            rooms: how many tokens each row may still write.
            steer: steers the candidates of drafted tokens.
            branches: whether several tokens of a draft may be meant for one place.
        """
        rows, longest = len(rooms), [max(room - 1, 0) for room in rooms]
        breadth = sum(seen.breadth for seen in self._seen) / rows
        self._deep = draft_length([seen.rate for seen in self._seen], longest, self._cost, breadth)
        if self._deep == 0 or not self._balance.affords(self._cost.lost(rows, self._deep)):
            self._deep = 0
            return [Draft() for _ in rooms]
        rooms = [min(self._deep, most) for most in longest]
        proposed = self._state.propose(rooms, steer, branches)
        drafts = [draft.within(most, branches) for draft, most in zip(proposed, rooms, strict=True)]
        self._deep = max(max(draft.depths, default=-1) + 1 for draft in drafts)
        trusts = [seen.trust for seen in self._seen]
        best = [draft.best(MOST_DRAFTED, trust) for draft, trust in zip(drafts, trusts, strict=True)]
        worths = [draft.worths(trust) for draft, trust in zip(best, trusts, strict=True)]
        most = self._balance.most(self._cost, rows, self._deep)
        size = draft_size(worths, self._cost, self._deep, most)
        return [draft.part(range(min(size, len(draft.tokens)))) for draft in best]

    def append(self, drafts: Sequence[Draft], right: Sequence[Sequence[int]], written: Sequence[Sequence[int]]) -> None:
        """Tell what became of the drafts.

        Args:
            drafts: of each row.
            right: the places of each draft's tokens that were right.
            written: the tokens that each row has got.
        """
        rows, largest = len(drafts), max(len(draft.tokens) for draft in drafts)
        each = sum(map(len, written)) / rows
        self._balance.see(each, self._cost.of(rows, largest, self._deep) / self._cost.of(rows, 0))
        missed = self._deep > 0 and self._cost.draft > 0
        for seen, draft, path in zip(self._seen, drafts, right, strict=True):
            seen.see(draft, path, missed)
        self._state.append(written)
        self._deep = 0

    def select(self, rows: Sequence[int]) -> None:
        """Continue with these rows only."""
        self._state.select(rows)
        self._seen = [self._seen[row] for row in rows]

    def join(self, other: "Speculation") -> None:
        """Append the rows of another loop."""
        self._state.join(other._state)
        self._seen += other._seen


def agreement(draft: Sequence[int], chosen: Sequence[int]) -> int:
    """How many tokens of a draft are those that were chosen, up to the first that is not."""
    pairs = zip(draft, chosen, strict=False)
    return next((place for place, (drafted, token) in enumerate(pairs) if drafted != token), len(draft))


def chosen(candidates: Candidates, sampling: RowSampling, steer: SteerDraft) -> Int[Tensor, " rows"]:
    """The choice of each row among the candidates of a drafted token, which counts as one more step of `sampling`."""
    columns = sampling.choose(steer(candidates), candidates.ids)
    return candidates.ids.gather(1, columns[:, None]).squeeze(1)
