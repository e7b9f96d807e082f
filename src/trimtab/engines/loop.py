"""The decode loop: a batch of rows over one shared, forked KV cache, a token each a step."""

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trimtab.engines.base import Request
from trimtab.engines.guide import Guide, RewardTable, rewards_of
from trimtab.engines.sampling import choose, row_keys
from trimtab.engines.settings import Sampling
from trimtab.frozen.cache import PrefixCache
from trimtab.frozen.lm import FrozenLM
from trimtab.frozen.memory import Memory
from trimtab.steering.rule import Candidates, top_candidates


class Step(NamedTuple):
    """One turn of the loop, all rows at once; tensors stay where the model is."""

    tokens: Int[Tensor, " rows"]
    columns: Int[Tensor, " rows"]
    candidates: Candidates
    base_logprobs: Float[Tensor, "rows k"]
    steered: Float[Tensor, "rows k"]
    rewards: RewardTable


@final
class DecodeLoop:
    """A batch being written: `step` chooses a token for every row, `keep` drops rows that are done.

    Args:
        lm: the language model.
        requests: what to continue.
        n: samples of each request; they share its prompt's cache, as requests of one prefix and steer do.
        sampling: how tokens are chosen.
        memory: of what was encoded before.
    """

    def __init__(
        self, lm: FrozenLM, requests: Sequence[Request], n: int, sampling: Sampling, memory: Memory | None = None
    ):
        texts = {(tuple(request.prefix), id(request.steer)): request.steer for request in requests}
        steers = list(texts.values())
        depths = {depth for reward in rewards_of(steers) if (depth := reward.reads(lm.model)) is not None}
        batch = lm.batch([prefix for prefix, _ in texts])
        self._sampling = sampling
        self._host = PrefixCache(lm.model, depths, memory)
        self._guide = Guide(steers, lm.device, self._host)
        self._logits = self._host.feed(batch.ids, batch.mask).logits[:, -1].float()
        self._guide.prefill(batch)
        self._chosen: tuple[Tensor, Tensor] | None = None
        self._steps = 0
        if n * len(requests) > len(texts):
            place = {text: row for row, text in enumerate(texts)}
            owners = [place[tuple(request.prefix), id(request.steer)] for request in requests for _ in range(n)]
            self._fork(torch.tensor(owners, device=lm.device))
        seeds, prefixes = [request.seed for request in requests], [request.prefix for request in requests]
        self._keys = row_keys(seeds, prefixes, n, lm.device)
        self._greedy = torch.tensor([request.greedy for request in requests for _ in range(n)], device=lm.device)

    def step(self) -> Step:
        """Choose the next token of every row; no device sync."""
        if self._chosen is not None:
            self._advance(*self._chosen)
        candidates = top_candidates(self._logits, self._sampling.top_k, self._sampling.top_p)
        steered, rewards = self._guide.steer(candidates, self._logits)
        columns = choose(steered, candidates.ids, self._sampling.temperature, self._keys, self._steps, self._greedy)
        tokens = candidates.ids.gather(1, columns[:, None]).squeeze(1)
        base_logprobs = self._logits.gather(1, candidates.ids) - self._logits.logsumexp(-1, keepdim=True)
        self._chosen = tokens, columns
        self._steps += 1
        return Step(tokens, columns, candidates, base_logprobs, steered, rewards)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, which become row 0, 1, …. The memory keeps what the others wrote."""
        kept = torch.tensor(rows, device=self._logits.device, dtype=torch.long)
        self._fork(kept)
        self._keys, self._greedy = self._keys[kept], self._greedy[kept]
        if self._chosen is not None:
            tokens, columns = self._chosen
            self._chosen = tokens[kept], columns[kept]

    def _advance(self, tokens: Int[Tensor, " rows"], columns: Int[Tensor, " rows"]) -> None:
        self._guide.advance(tokens, columns)
        self._logits = self._host.feed(tokens[:, None]).logits[:, -1].float()

    def _fork(self, rows: Int[Tensor, " selected"]) -> None:
        self._host.select(rows)
        self._guide.select(rows)
        self._logits = self._logits[rows]
