"""The steering of one batch: each row its own steer, each reward one state over the rows that use it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from trimtab.frozen.cache import PrefixCache
from trimtab.frozen.lm import PromptBatch
from trimtab.steering.reward import Reward, RewardState
from trimtab.steering.rule import Candidates, RowTerms, entropy_of, guidance, row_terms
from trimtab.steering.steer import Steer, Term

RewardTable = dict[str, Float[Tensor, "rows k"]]


@dataclass
class Group:
    """One reward at work in a batch.

    Attributes:
        name: what the trace calls it; the reward's own name, numbered if another has the same.
        reward, state: the model and its per-request half.
        rows: the rows that it scores, rising; None for all.
        terms: how each of those rows uses it.
        unused: of those rows, the ones that it does not steer: scored for nothing where that is free.
    """

    name: str
    reward: Reward
    state: RewardState
    rows: Int[Tensor, " members"] | None
    terms: RowTerms
    unused: Bool[Tensor, " members"]

    def of(self, whole: Tensor) -> Tensor:
        """The members' rows of a tensor."""
        return whole if self.rows is None else whole[self.rows]


@final
class Guide:
    """Adds the rewards to a batch's candidates.

    Args:
        steers: one a row; None leaves a row alone.
        device: where the language model is.
        host: the language model's cache, for the rewards that can read it.
    """

    def __init__(self, steers: Sequence[Steer | None], device: torch.device, host: PrefixCache | None = None):
        self._rows = len(steers)
        named = name_rewards(rewards_of(steers))
        self._groups = [self._group(name, reward, steers, device, host) for name, reward in named.items()]
        self._gated = any(term.min_entropy for steer in steers if steer for term in steer.terms)

    def _group(
        self, name: str, reward: Reward, steers: Sequence[Steer | None], device: torch.device, host: PrefixCache | None
    ) -> Group:
        terms = [_terms_of(steer, reward) for steer in steers]
        members = [row for row, of_row in enumerate(terms) if of_row]
        hosted = host is not None and reward.reads(host.model) is not None
        everyone = hosted or len(members) == len(steers)
        scored = range(len(steers)) if everyone else members
        return Group(
            name,
            reward,
            reward.start(host),
            None if everyone else torch.tensor(members, device=device),
            row_terms([terms[row] for row in scored], device),
            torch.tensor([not terms[row] for row in scored], device=device),
        )

    def prefill(self, batch: PromptBatch) -> None:
        """Start every reward from the prompts."""
        for group in self._groups:
            group.state.prefill(group.of(batch.ids), group.of(batch.mask))

    def steer(
        self, candidates: Candidates, logits: Float[Tensor, "rows vocabulary"]
    ) -> tuple[Float[Tensor, "rows k"], RewardTable]:
        """z' of the candidates, and the rewards behind it by "reward:attribute" (NaN where a row does not use one)."""
        steered = candidates.logits
        entropy = entropy_of(logits) if self._gated else logits.new_zeros(logits.shape[0])
        table: RewardTable = {}
        for group in self._groups:
            rewards = self._rewards(group, candidates)
            added = guidance(rewards, group.terms, group.of(entropy))
            rewards = rewards.masked_fill(group.unused[:, None, None], torch.nan)
            if group.rows is None:
                steered = steered + added
            else:
                steered = steered.index_add(0, group.rows, added)
                unused = rewards.new_full((self._rows, *rewards.shape[1:]), torch.nan)
                rewards = unused.index_copy(0, group.rows, rewards)
            table |= {f"{group.name}:{a}": r for a, r in zip(group.reward.attributes, rewards.unbind(-1), strict=True)}
        return steered, table

    def _rewards(self, group: Group, candidates: Candidates) -> Float[Tensor, "members k attributes"]:
        if not candidates.whole:
            return group.state.rewards(group.of(candidates.ids))
        rewards = group.state.rewards(None)
        missing = candidates.ids.shape[1] - rewards.shape[1]  # a vocabulary may be padded, in either model
        return functional.pad(rewards, (0, 0, 0, missing))

    def advance(self, tokens: Int[Tensor, " rows"], choice: Int[Tensor, " rows"] | None = None) -> None:
        """Append each row's token; `choice` is its column among the candidates."""
        for group in self._groups:
            group.state.advance(group.of(tokens), None if choice is None else group.of(choice))

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
        self._groups = [group for group in self._groups if group.rows is None or len(group.rows)]
        self._rows = len(rows)

    def rollback(self, tokens: int) -> None:
        """Take back tokens from every row."""
        for group in self._groups:
            group.state.rollback(tokens)


def rewards_of(steers: Sequence[Steer | None]) -> list[Reward]:
    """The distinct rewards of some steers, in order of appearance."""
    return list({id(t.reward): t.reward for steer in steers if steer for t in steer.terms}.values())


def name_rewards(rewards: Sequence[Reward]) -> dict[str, Reward]:
    """The rewards by name, the second of a name called "name#2"."""
    named: dict[str, Reward] = {}
    for reward in rewards:
        same = sum(other.name == reward.name for other in named.values())
        named[f"{reward.name}#{same + 1}" if same else reward.name] = reward
    return named


def _terms_of(steer: Steer | None, reward: Reward) -> list[Term]:
    return [term for term in steer.terms if term.reward is reward] if steer else []
