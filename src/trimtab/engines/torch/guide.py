"""The steering of one batch: each row has its own steer, each reward one state over the rows that use it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trimtab.engines.reward_names import name_rewards
from trimtab.errors import NonFiniteLogits, TrimtabError
from trimtab.models.codec import TextCodec
from trimtab.models.frozen_lm import PromptBatch
from trimtab.models.kv_cache import KVCache
from trimtab.rewards.finite import finite_rows, non_finite
from trimtab.steering.reward import ExplainsFaults, Reward, RewardState, ScoresDrafts, SkipsDrafts
from trimtab.steering.rule import Candidates, RowTerms, entropy_of, guidance, row_terms, steered_logits
from trimtab.steering.steer import Steer, Term, distinct_rewards

RewardTable = dict[str, Float[Tensor, "rows k"]]


@dataclass
class Group:
    """One reward in a batch.

    Attributes:
        name: its name in the trace: the reward's own, numbered if another reward has the same.
        reward, state: the reward and its per-request half.
        hosted: whether the state reads the language model's own KV cache, and so covers every row.
        rows: the rows that it scores, ascending; None for all.
        terms: how each of those rows uses it.
        unused: the rows among those that it does not steer; scoring them is free.
    """

    name: str
    reward: Reward
    state: RewardState
    hosted: bool
    rows: Int[Tensor, " members"] | None
    terms: RowTerms
    unused: Bool[Tensor, " members"]

    def of(self, whole: Tensor) -> Tensor:
        """The members' rows of a tensor."""
        return whole if self.rows is None else whole[self.rows]

    def rewards(
        self, candidates: Int[Tensor, "members k"] | None, places: int
    ) -> Float[Tensor, "members k attributes"]:
        """The state's rewards. With several places, each row is there once for each of its last tokens."""
        if places == 1:
            return self.state.rewards(candidates)
        assert isinstance(self.state, ScoresDrafts)
        of_rows = None if candidates is None else candidates.unflatten(0, (-1, places))
        return self.state.draft_rewards(of_rows, places).flatten(0, 1)

    def in_places(self, places: int) -> "Group":
        """The group with each row repeated, once for each of its last tokens."""
        if places == 1:
            return self
        repeated = torch.arange(len(self.unused), device=self.unused.device).repeat_interleave(places)
        rows = self.rows
        if rows is not None:
            rows = (rows[:, None] * places + torch.arange(places, device=rows.device)).flatten()
        return replace(self, rows=rows, terms=self.terms.select(repeated), unused=self.unused[repeated])


@final
class Guide:
    """Adds the rewards to a batch's candidates.

    Args:
        steers: one per row; None leaves a row alone.
        device: the device of the language model.
        host: the language model's KV cache, for the rewards that can read it.
        codec: gives the text of a token in errors; None to name its id alone.
        deferred: leave the check for numbers that are not finite to the caller, who reads `finite` later: no device
            sync. Otherwise `steer` raises at once.

    Attributes:
        finite: whether the logits and all rewards of the last step were finite, for each row; None before a step.
        scale: of what the steers added in the last step, for each row; None if no row had a budget.
    """

    def __init__(
        self,
        steers: Sequence[Steer | None],
        device: torch.device,
        host: KVCache | None = None,
        codec: TextCodec | None = None,
        deferred: bool = False,
    ):
        self._rows, self._device, self._host = len(steers), device, host
        self._codec, self._deferred = codec, deferred
        self.finite: Tensor | None = None
        self.scale: Tensor | None = None
        named = name_rewards(distinct_rewards(steers))
        self._groups = [self._group(name, reward, steers) for name, reward in named.items()]
        self._gated = any(term.min_entropy for steer in steers if steer for term in steer.terms)

    def _group(self, name: str, reward: Reward, steers: Sequence[Steer | None]) -> Group:
        terms = [_terms_of(steer, reward) for steer in steers]
        members = [row for row, of_row in enumerate(terms) if of_row]
        hosted = self._host is not None and reward.reads(self._host.model) is not None
        everyone = hosted or len(members) == len(steers)
        scored = range(len(steers)) if everyone else members
        return Group(
            name,
            reward,
            reward.start(self._host),
            hosted,
            None if everyone else torch.tensor(members, device=self._device),
            row_terms([terms[row] for row in scored], self._device),
            torch.tensor([not terms[row] for row in scored], device=self._device),
        )

    def prefill(self, batch: PromptBatch) -> None:
        """Start every reward from the prompts."""
        for group in self._groups:
            group.state.prefill(group.of(batch.ids), group.of(batch.mask))

    def steer(
        self,
        candidates: Candidates,
        logits: Float[Tensor, "rows vocabulary"],
        max_kl: Float[Tensor, " rows"] | None = None,
        places: int = 1,
    ) -> tuple[Float[Tensor, "rows k"], RewardTable]:
        """z' of the candidates, and the rewards behind it by "reward:attribute" (NaN where a row does not use one).

        Args:
            candidates: C.
            logits: z over the whole vocabulary.
            max_kl: the budget of each row in nats, inf for a row without one; None if no row has one.
            places: score behind each of this many last tokens; each row is there that many times, one after another.

        Raises:
            NonFiniteLogits: unless `deferred`; a row's best logit is NaN or infinite.
            NonFiniteReward: unless `deferred`; a reward that a row uses is NaN or infinite.
        """
        finite = candidates.logits.amax(-1).isfinite()  # top-k puts NaN first; −inf is for excluded tokens
        self.scale = added = None
        entropy = entropy_of(logits) if self._gated else logits.new_zeros(logits.shape[0])
        table: RewardTable = {}
        rows = self._rows * places
        for group in (each.in_places(places) for each in self._groups):
            rewards = self._rewards(group, candidates, places)
            used = rewards.masked_fill(group.unused[:, None, None], 0.0)  # 0 · NaN would be NaN
            finite = finite & _spread(group, finite_rows(used), rows)
            by_group = guidance(used, group.terms, group.of(entropy))
            rewards = rewards.masked_fill(group.unused[:, None, None], torch.nan)
            if group.rows is not None:
                by_group = by_group.new_zeros(rows, by_group.shape[1]).index_copy(0, group.rows, by_group)
                unused = rewards.new_full((rows, *rewards.shape[1:]), torch.nan)
                rewards = unused.index_copy(0, group.rows, rewards)
            added = by_group if added is None else added + by_group
            table |= {f"{group.name}:{a}": r for a, r in zip(group.reward.attributes, rewards.unbind(-1), strict=True)}
        self.finite = finite
        if not self._deferred:
            self._check(candidates, table)
        if added is None:
            return candidates.logits, table
        steered, self.scale = steered_logits(candidates, added, max_kl)
        return steered, table

    def steer_draft(self, candidates: Candidates) -> Float[Tensor, "rows k"]:
        """About z' of the candidates of a token that is drafted.

        The rewards that read the language model's own cache answer, as behind the last token that they have read. Slow
        ones, the others, gates and budgets are left out: what a draft gets wrong costs time, and changes no text.
        """
        logits = candidates.logits
        for group in self._groups:
            slow = isinstance(group.state, SkipsDrafts) and group.state.skips_drafts
            if group.hosted and not slow:
                open_gates = logits.new_full(logits.shape[:1], torch.inf)
                rewards = group.state.rewards(candidates.ids).masked_fill(group.unused[:, None, None], 0.0)
                logits = logits + guidance(rewards, group.terms, open_gates)
        return logits

    def _check(self, candidates: Candidates, table: RewardTable) -> None:
        if self.finite is not None and not bool(self.finite.all()):
            raise self.fault(int(self.finite.int().argmin()), candidates, table)

    def fault(self, row: int, candidates: Candidates, table: RewardTable) -> TrimtabError:
        """The error for a row whose `finite` was False; rows must not have been selected or joined since.

        Args:
            row: its number.
            candidates: what `steer` was given.
            table: what `steer` returned with them.
        """
        if not bool(candidates.logits[row].amax().isfinite()):
            return NonFiniteLogits(
                "got logits from the language model that are NaN or infinite, expected finite numbers; load the model "
                "in float32, or fetch it again"
            )
        for group in self._groups:
            place = row if group.rows is None else _place(group.rows.tolist(), row)
            if place is None or bool(group.unused[place]):
                continue
            if isinstance(group.state, ExplainsFaults) and (fault := group.state.fault(place)) is not None:
                return fault
            rewards = torch.stack([table[f"{group.name}:{a}"][row] for a in group.reward.attributes], dim=-1)
            if not bool(rewards.isfinite().all()):
                return non_finite(group.reward, rewards, candidates.ids[row], self._codec)
        raise AssertionError("expected a row with a number that is not finite")

    def _rewards(self, group: Group, candidates: Candidates, places: int) -> Float[Tensor, "members k attributes"]:
        if not candidates.whole:
            return group.rewards(group.of(candidates.ids), places)
        rewards = group.rewards(None, places)
        missing = candidates.ids.shape[1] - rewards.shape[1]  # a vocabulary may be padded, in either model
        last = rewards[:, -1:].expand(-1, max(missing, 0), -1)  # as states answer for an id past their vocabulary
        return torch.cat([rewards, last], 1)[:, : candidates.ids.shape[1]]

    def advance(self, tokens: Int[Tensor, " rows"], choice: Int[Tensor, " rows"] | None = None) -> None:
        """Append each row's token; `choice` is its column among the candidates."""
        for group in self._groups:
            group.state.advance(group.of(tokens), None if choice is None else group.of(choice))

    @property
    def scores_drafts(self) -> bool:
        """Whether every reward can score several tokens of every row at once."""
        return all(isinstance(group.state, ScoresDrafts) for group in self._groups)

    @property
    def reads_host_only(self) -> bool:
        """Whether every reward reads the language model's own cache."""
        return all(group.hosted for group in self._groups)

    def extend(self, tokens: Int[Tensor, "rows new"], mask: Bool[Tensor, "rows new"]) -> None:
        """Append several tokens to each row; only if `scores_drafts`. False in `mask` is padding on the right."""
        for group in self._groups:
            assert isinstance(group.state, ScoresDrafts)
            group.state.extend(group.of(tokens), group.of(mask))

    def retract(self, tokens: Sequence[int]) -> None:
        """Take back the last tokens of each row, of each its own number."""
        for group in self._groups:
            assert isinstance(group.state, ScoresDrafts)
            members = range(self._rows) if group.rows is None else group.rows.tolist()
            group.state.retract([tokens[row] for row in members])

    def rollback(self, tokens: int) -> None:
        """Take back the last tokens of every row."""
        for group in self._groups:
            group.state.rollback(tokens)

    def select(self, rows: Int[Tensor, " selected"]) -> None:
        """Fork, re-order or drop rows."""
        for group in self._groups:
            chosen = rows
            if group.rows is not None:
                place = rows.new_full((self._rows,), -1)
                place[group.rows] = torch.arange(len(group.rows), device=rows.device)
                found = place[rows]
                group.rows, chosen = (found >= 0).nonzero().squeeze(1), found[found >= 0]
            group.terms, group.unused = group.terms.select(chosen), group.unused[chosen]
            group.state.select(chosen)
        self._groups = [group for group in self._groups if not bool(group.unused.all())]
        self._rows = len(rows)

    def join(self, other: "Guide") -> None:
        """Append the rows of another guide. The KV caches of both hosts have been joined already."""
        ours = {id(group.reward): group for group in self._groups}
        theirs = {id(group.reward): group for group in other._groups}
        every = {**ours, **theirs}
        named = name_rewards([group.reward for group in every.values()], [group.name for group in self._groups])
        self._groups = [
            self._joined(name, ours.get(id(reward)), theirs.get(id(reward)), other._rows)
            for name, reward in named.items()
        ]
        self._rows += other._rows
        self._gated = self._gated or other._gated

    def _joined(self, name: str, ours: Group | None, theirs: Group | None, added: int) -> Group:
        known = ours or theirs
        assert known is not None
        if known.hosted or (ours and theirs):
            ours = ours or self._idle(known, self._rows)
            theirs = theirs or self._idle(known, added)
        parts = [part for part in (ours, theirs) if part]
        everyone = len(parts) == 2 and all(part.rows is None for part in parts)
        if len(parts) == 2:
            parts[0].state.join(parts[1].state)
        rows = [_member_rows(ours, self._rows, 0), _member_rows(theirs, added, self._rows)]
        return Group(
            name,
            known.reward,
            parts[0].state,
            known.hosted,
            None if everyone else torch.cat(rows).to(self._device),
            parts[0].terms.join(parts[1].terms) if len(parts) == 2 else known.terms,
            torch.cat([part.unused for part in parts]),
        )

    def _idle(self, group: Group, rows: int) -> Group:
        """A hosted reward over rows that it does not steer."""
        state = group.reward.start(self._host)
        unused = torch.ones(rows, dtype=torch.bool, device=self._device)
        return Group(group.name, group.reward, state, True, None, row_terms([[]] * rows, self._device), unused)


def _spread(group: Group, finite: Bool[Tensor, " members"], rows: int) -> Bool[Tensor, " rows"]:
    """The same for all rows: True for those that the group does not score."""
    return finite if group.rows is None else finite.new_ones(rows).index_copy(0, group.rows, finite)


def _place(rows: list[int], row: int) -> int | None:
    return rows.index(row) if row in rows else None


def _member_rows(group: Group | None, rows: int, offset: int) -> Int[Tensor, " members"]:
    """The rows of a group in a joined batch."""
    if group is None:
        return torch.empty(0, dtype=torch.long)
    return offset + (torch.arange(rows) if group.rows is None else group.rows.cpu())


def _terms_of(steer: Steer | None, reward: Reward) -> list[Term]:
    return [term for term in steer.terms if term.reward is reward] if steer else []
