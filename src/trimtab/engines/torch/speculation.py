"""Speculation: drafts for the rows of a decode loop, and how far each row's are trusted."""

from collections.abc import Sequence
from typing import final

from jaxtyping import Int
from torch import Tensor

from trimtab.engines.base import Request
from trimtab.engines.draft_length import Acceptance, Balance, check_cost, draft_length
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

    def propose(self, rooms: Sequence[int], steer: SteerDraft) -> list[list[int]]:
        """A draft for each row; empty where none pays.

        Args:
            rooms: how many tokens each row may still write.
            steer: steers the candidates of a drafted token.
        """
        rates, longest = [seen.rate for seen in self._seen], [room - 1 for room in rooms]
        length = draft_length(rates, longest, self._cost)
        if length == 0 or not self._balance.affords(self._cost.lost(len(rooms), length)):
            return [[] for _ in rooms]
        drafts = self._state.propose([max(0, min(length, most)) for most in longest], steer)
        length = draft_length(rates, [len(draft) for draft in drafts], self._cost)
        return [draft[:length] for draft in drafts]

    def append(self, drafts: Sequence[Sequence[int]], kept: Sequence[int], written: Sequence[Sequence[int]]) -> None:
        """Tell what became of the drafts.

        Args:
            drafts: of each row.
            kept: how many tokens of each draft were right.
            written: the tokens that each row has got.
        """
        rows, longest = len(drafts), max(map(len, drafts))
        each = sum(map(len, written)) / rows
        self._balance.see(each, self._cost.of(rows, longest) / self._cost.of(rows, 0))
        for seen, draft, right in zip(self._seen, drafts, kept, strict=True):
            seen.see(len(draft), right)
        self._state.append(written)

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
