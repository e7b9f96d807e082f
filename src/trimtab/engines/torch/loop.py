"""The decode loop: rows over one shared, forked KV cache, one token per step. Rows may join and leave between steps."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trimtab.engines.base import Request
from trimtab.engines.draft import TEXT, Draft
from trimtab.engines.torch.guide import Guide, RewardTable
from trimtab.engines.torch.sampling import RowSampling
from trimtab.errors import TrimtabError
from trimtab.models.branches import Branches
from trimtab.models.cache_rows import shift_right
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.kv_cache import KVCache
from trimtab.models.prefix_cache import PrefixCache
from trimtab.models.side_network import Reader
from trimtab.models.usage import Usage
from trimtab.steering.rule import Candidates, base_logprobs
from trimtab.steering.steer import readers_of

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

    def select(self, rows: Int[Tensor, " selected"] | slice) -> "Step":
        """Some rows of the step."""
        ids, logits, whole = self.candidates
        return Step(
            self.tokens[rows],
            self.columns[rows],
            Candidates(ids[rows], logits[rows], whole),
            self.base_logprobs[rows],
            self.steered[rows],
            {name: values[rows] for name, values in self.rewards.items()},
            None if self.finite is None else self.finite[rows],
            None if self.scale is None else self.scale[rows],
        )


@final
class DecodeLoop:
    """Rows that are being written: `step` chooses a token for each, `keep` drops rows, `join` adds rows.

    Args:
        lm: the language model.
        requests: the prefixes to continue; samples, and requests of one prefix and steer, share its KV cache.
        prefix_cache: prefixes that were encoded before.
        usage: counts what goes through the models.
        readers: read the language model beside the rewards.

    Attributes:
        host: the language model's KV cache. It has every token of a row but the last, which is fed by the next step.
    """

    def __init__(
        self,
        lm: FrozenLM,
        requests: Sequence[Request],
        prefix_cache: PrefixCache | None = None,
        usage: Usage | None = None,
        readers: Iterable[Reader] = (),
    ):
        texts = {(request.tokens, id(request.steer)): request.steer for request in requests}
        steers = list(texts.values())
        of_rewards = readers_of(steers, lm.model)
        batch = lm.batch([prefix for prefix, _ in texts])
        self.host = KVCache(lm.model, of_rewards | set(readers), prefix_cache, usage)
        self._guide = Guide(steers, lm.device, self.host, lm.codec, deferred=True)
        self._logits = self.host.feed(batch.ids, batch.mask).logits[:, -1].float()
        self._guide.prefill(batch)
        self._chosen: tuple[Tensor, Tensor | None] | None = None
        self._sampling = RowSampling.of(requests, lm.device)
        if len(self._sampling.params) > len(texts):
            place = {text: row for row, text in enumerate(texts)}
            rows = [place[each.tokens, id(each.steer)] for each in requests for _ in range(each.params.n)]
            self._fork(torch.tensor(rows, device=lm.device))

    def step(self) -> Step:
        """Choose the next token of every row; no device sync."""
        self._advance()
        step = self._choose(self._logits, self._sampling)
        self._chosen = step.tokens, step.columns
        return step

    @property
    def checks_drafts(self) -> bool:
        """Whether `check` may be called now: a token has been chosen, and every reward can score drafts."""
        return self._chosen is not None and self._guide.scores_drafts

    @property
    def checks_branches(self) -> bool:
        """Whether `check` takes trees: no reward or constraint reads the drafts besides, and no call is recorded."""
        return self._guide.reads_host_only and not self._sampling.constrains and not self.host.records

    def check(self, drafts: Sequence[Draft]) -> Step:
        """Choose a token behind each row's last one and behind every token of its draft, in one forward.

        `accept` must follow.

        Args:
            drafts: the tokens that each row may write next; of any size, but one is not empty.

        Returns:
            A step with places = 1 + the size of the largest draft for each row, one row after another. What it chose
            behind a wrong token means nothing.
        """
        assert self._chosen is not None
        ids, mask = self._behind_last([draft.tokens for draft in drafts])
        places, branches = ids.shape[1], self._branches(drafts)
        self._guide.extend(ids, mask)
        logits = self.host.feed(ids, mask, places, branches).logits.float().flatten(0, 1)
        sampling = self._sampling.in_places(places, None if branches is None else branches.depths)
        step = self._choose(logits, sampling, places)
        self._checked = step.tokens.unflatten(0, (-1, places))
        return step

    def accept(self, right: Sequence[Sequence[int]]) -> None:
        """Continue behind the right tokens of each draft, with the token that `check` chose there.

        Args:
            right: their places in each row's draft, ascending.
        """
        tokens, paths = self._checked, [[0, *(place + 1 for place in path)] for path in right]
        if any(path[-1] >= len(path) for path in paths):
            longest = max(map(len, paths))
            order = [[*path, *path[-1:] * (longest - len(path))] for path in paths]
            self.host.arrange(torch.tensor(order, device=tokens.device), tokens.shape[1])
        taken_back = [tokens.shape[1] - len(path) for path in paths]
        self.host.retract(taken_back)
        self._guide.retract(taken_back)
        last, counts = torch.tensor([[path[-1], len(path)] for path in paths], device=tokens.device).unbind(1)
        self._chosen = tokens.gather(1, last[:, None]).squeeze(1), None
        self._sampling = self._sampling.later(counts)

    def steer_draft(self, candidates: Candidates) -> Float[Tensor, "rows k"]:
        """About the logits by which the loop would choose among candidates of a token that is drafted."""
        return self._guide.steer_draft(candidates)

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
            self._chosen = tokens[kept], None if columns is None else columns[kept]

    def join(self, other: "DecodeLoop") -> None:
        """Append the rows of another loop over the same model. No row's text changes."""
        for loop in (self, other):
            loop._advance()
        self.host.join(other.host)
        self._guide.join(other._guide)
        self._logits = torch.cat([self._logits, other._logits])
        self._sampling = self._sampling.join(other._sampling)

    def _choose(self, logits: Float[Tensor, "rows vocabulary"], sampling: RowSampling, places: int = 1) -> Step:
        """The choice of each row, or behind each of the last tokens of every row."""
        logits = sampling.constrained(logits, lambda: in_places(*self.host.prefixes, places))
        candidates = sampling.candidates(logits)
        steered, rewards = self._guide.steer(candidates, logits, sampling.budget, places)
        columns = sampling.choose(steered, candidates.ids)
        tokens = candidates.ids.gather(1, columns[:, None]).squeeze(1)
        base, guide = base_logprobs(logits, candidates.ids), self._guide
        return Step(tokens, columns, candidates, base, steered, rewards, guide.finite, guide.scale)

    def _behind_last(self, drafts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """The last token of each row and its draft, padded on the right, and a mask that is False at padding."""
        assert self._chosen is not None
        width, device = max(map(len, drafts)), self._logits.device
        drafted = torch.tensor([[*draft, *[0] * (width - len(draft))] for draft in drafts], device=device)
        lengths = torch.tensor([len(draft) for draft in drafts], device=device)
        ids = torch.cat([self._chosen[0][:, None], drafted], dim=1)
        return ids, torch.arange(width + 1, device=device) <= lengths[:, None]

    def _branches(self, drafts: Sequence[Draft]) -> Branches | None:
        """Which token each of a row's last one and its draft follows; None if each follows the one before it."""
        if not any(draft.branches for draft in drafts):
            return None
        width = 1 + max(len(draft.tokens) for draft in drafts)
        after = [[TEXT, *(place + 1 for place in draft.after)] for draft in drafts]
        padded = [[*row, *[TEXT] * (width - len(row))] for row in after]
        return Branches.behind(torch.tensor(padded, device=self._logits.device))

    def _advance(self) -> None:
        """Feed the tokens that the last step chose, if they have not been fed."""
        if self._chosen is None:
            return
        tokens, columns = self._chosen
        self._guide.advance(tokens, columns)
        self._logits = self.host.feed(tokens[:, None]).logits[:, -1].float()
        self._chosen = None

    def _fork(self, rows: Int[Tensor, " selected"]) -> None:
        self.host.select(rows)
        self._guide.select(rows)
        self._logits = self._logits[rows]


def in_places(
    ids: Int[Tensor, "rows slots"], mask: Bool[Tensor, "rows slots"], places: int
) -> tuple[Int[Tensor, "rows_places slots"], Bool[Tensor, "rows_places slots"]]:
    """Left-padded prefixes as they were at each of their last tokens, those of one row after another.

    Args:
        ids: the prefixes.
        mask: False where `ids` is padding.
        places: how many of the last tokens; the last place is the whole prefix.
    """
    if places == 1:
        return ids, mask
    shifts = torch.arange(places - 1, -1, -1, device=ids.device).repeat(len(ids))
    moved = torch.arange(ids.shape[1], device=ids.device) >= shifts[:, None]
    ids, mask = (shift_right(each.repeat_interleave(places, dim=0), shifts, axis=1) for each in (ids, mask))
    return ids, mask & moved
