"""The decode loop: rows over one shared, forked KV cache, one token per step. Rows may join and leave between steps."""

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trimtab.engines.base import Request
from trimtab.engines.torch.guide import Guide, RewardTable
from trimtab.engines.torch.sampling import RowSampling
from trimtab.errors import TrimtabError
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.kv_cache import KVCache
from trimtab.models.prefix_cache import PrefixCache
from trimtab.models.usage import Usage
from trimtab.steering.rule import Candidates
from trimtab.steering.steer import distinct_rewards

NOT_FINITE = -1  # in place of a token that was chosen by numbers that are not finite


class Step(NamedTuple):
    """One step of all rows; the tensors stay on the model's device.

    Attributes:
        tokens: the chosen tokens.
        columns: their places among the candidates.
        candidates: the set C.
        base_logprobs: log softmax(z) of the candidates, over the whole vocabulary.
        steered: z' of the candidates.
        rewards: the rewards behind z'.
        finite: whether a row's logits and rewards are finite; None if they were checked before.
        scale: of what the steers added, for each row; None if no row has a budget.
    """

    tokens: Int[Tensor, " rows"]
    columns: Int[Tensor, " rows"]
    candidates: Candidates
    base_logprobs: Float[Tensor, "rows k"]
    steered: Float[Tensor, "rows k"]
    rewards: RewardTable
    finite: Bool[Tensor, " rows"] | None = None
    scale: Float[Tensor, " rows"] | None = None

    @property
    def sound_tokens(self) -> Int[Tensor, " rows"]:
        """The tokens; NOT_FINITE in a row with numbers that are not finite, so that one transfer tells both."""
        return self.tokens if self.finite is None else self.tokens.where(self.finite, NOT_FINITE)


@final
class DecodeLoop:
    """Rows that are being written: `step` chooses a token for each, `keep` drops rows, `join` adds rows.

    Args:
        lm: the language model.
        requests: the prefixes to continue; samples, and requests of one prefix and steer, share its KV cache.
        prefix_cache: prefixes that were encoded before.
        usage: counts what goes through the models.
        first_sample: the number of each request's first sample, which its noise depends on.
    """

    def __init__(
        self,
        lm: FrozenLM,
        requests: Sequence[Request],
        prefix_cache: PrefixCache | None = None,
        usage: Usage | None = None,
        first_sample: int = 0,
    ):
        texts = {(tuple(request.prefix), id(request.steer)): request.steer for request in requests}
        steers = list(texts.values())
        readers = {reader for reward in distinct_rewards(steers) if (reader := reward.reads(lm.model)) is not None}
        batch = lm.batch([prefix for prefix, _ in texts])
        self._host = KVCache(lm.model, readers, prefix_cache, usage)
        self._guide = Guide(steers, lm.device, self._host, lm.codec, deferred=True)
        self._logits = self._host.feed(batch.ids, batch.mask).logits[:, -1].float()
        self._guide.prefill(batch)
        self._chosen: tuple[Tensor, Tensor] | None = None
        self._sampling = RowSampling.of(requests, lm.device, first_sample)
        if len(self._sampling.params) > len(texts):
            place = {text: row for row, text in enumerate(texts)}
            rows = [place[tuple(each.prefix), id(each.steer)] for each in requests for _ in range(each.params.n)]
            self._fork(torch.tensor(rows, device=lm.device))

    def step(self) -> Step:
        """Choose the next token of every row; no device sync."""
        self._advance()
        logits = self._sampling.constrained(self._logits, lambda: self._host.prefixes)
        candidates = self._sampling.candidates(logits)
        steered, rewards = self._guide.steer(candidates, logits, self._sampling.budget)
        columns = self._sampling.choose(steered, candidates.ids)
        tokens = candidates.ids.gather(1, columns[:, None]).squeeze(1)
        base_logprobs = logits.gather(1, candidates.ids) - logits.logsumexp(-1, keepdim=True)
        self._chosen = tokens, columns
        guide = self._guide
        return Step(tokens, columns, candidates, base_logprobs, steered, rewards, guide.finite, guide.scale)

    def fault(self, step: Step, row: int) -> TrimtabError:
        """The error for a row of a step whose numbers are not finite; no row may have left or joined since."""
        return self._guide.fault(row, step.candidates, step.rewards)

    def keep(self, rows: Sequence[int]) -> None:
        """Continue with these rows only, which become row 0, 1, …. The prefix cache receives the others."""
        kept = torch.tensor(rows, device=self._logits.device, dtype=torch.long)
        self._fork(kept)
        self._sampling = self._sampling.select(rows)
        if self._chosen is not None:
            tokens, columns = self._chosen
            self._chosen = tokens[kept], columns[kept]

    def join(self, other: "DecodeLoop") -> None:
        """Append the rows of another loop over the same model. No row's text changes."""
        for loop in (self, other):
            loop._advance()
        self._host.join(other._host)
        self._guide.join(other._guide)
        self._logits = torch.cat([self._logits, other._logits])
        self._sampling = self._sampling.join(other._sampling)

    def _advance(self) -> None:
        """Feed the tokens that the last step chose, if they have not been fed."""
        if self._chosen is None:
            return
        tokens, columns = self._chosen
        self._guide.advance(tokens, columns)
        self._logits = self._host.feed(tokens[:, None]).logits[:, -1].float()
        self._chosen = None

    def _fork(self, rows: Int[Tensor, " selected"]) -> None:
        self._host.select(rows)
        self._guide.select(rows)
        self._logits = self._logits[rows]
