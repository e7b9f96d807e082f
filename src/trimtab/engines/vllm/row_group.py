"""Rows of vLLM's batch whose tokens are chosen together: by the torch engine's rule, and by its noise."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trimtab.engines.base import Request
from trimtab.engines.torch.guide import Guide
from trimtab.engines.torch.loop import Step
from trimtab.engines.torch.sampling import RowSampling
from trimtab.engines.torch.scoring import with_target
from trimtab.engines.torch.trace import trace_step
from trimtab.engines.vllm.row_rewards import RowReward
from trimtab.engines.vllm.rows import BatchRow
from trimtab.engines.vllm.state_sources import StateSource
from trimtab.errors import TrimtabError
from trimtab.models.frozen_lm import PromptBatch
from trimtab.steering.reward import Reward
from trimtab.steering.rule import Candidates, base_logprobs
from trimtab.steering.steer import Steer, distinct_rewards

Kind = tuple[int | bool | None, bool, bool, bool]
SourceOf = Callable[[Reward], tuple[str, StateSource]]


def kind_of(row: BatchRow) -> Kind:
    """Rows of one kind can choose together: how their candidates are found, and who chooses."""
    asked = row.asked
    params = asked.params
    everything = params.top_k is None and params.top_p is None
    width = params.top_k if asked.forced else params.top_k is None  # those of forced tokens are kept in the record
    return width, everything, bool(asked.forced), asked.draws


@final
class RowGroup:
    """Rows of one kind. They stay the same; other rows are another group.

    Args:
        rows: the rows.
        source_of: returns the name and the states of a reward.
        device: of the logits.
    """

    def __init__(self, rows: Sequence[BatchRow], source_of: SourceOf, device: torch.device):
        self.rows = list(rows)
        self._guide = Guide(_steers(rows, source_of), device, deferred=True)
        self._sampling = RowSampling.of([_request(row) for row in rows], device)

    @property
    def draws(self) -> bool:
        """Whether the tokens are chosen here."""
        return self.rows[0].asked.draws

    def choose(self, logits: Float[Tensor, "rows vocabulary"]) -> Step:
        """The next token of every row; a step's fields say the rest."""
        sampling, device = self._sampling, logits.device
        sampling.steps = torch.tensor([row.asked.begun + len(row.written) for row in self.rows], device=device)
        logits = sampling.constrained(logits, self._prefixes)
        candidates, forced = self._candidates(logits)
        steered, rewards = self._guide.steer(candidates, logits, sampling.budget)
        columns = sampling.choose(steered, candidates.ids) if forced is None else forced
        tokens = candidates.ids.gather(1, columns[:, None]).squeeze(1)
        base, guide = base_logprobs(logits, candidates.ids), self._guide
        return Step(tokens, columns, candidates, base, steered, rewards, guide.finite, guide.scale)

    def faults(self, step: Step) -> dict[int, TrimtabError]:
        """The errors of the rows whose logits or rewards are not finite, by their places in the group."""
        finite = [] if step.finite is None else step.finite.tolist()
        wrong = [at for at, sound in enumerate(finite) if not sound]
        return {at: self._guide.fault(at, step.candidates, step.rewards) for at in wrong}

    def deliver(self, step: Step, faults: Mapping[int, TrimtabError]) -> None:
        """Put each row's choice, or its fault, into the row's outbox.

        Args:
            step: what `choose` returned.
            faults: what `faults` returned.
        """
        widths = [row.asked.params.top_k for row in self.rows]
        if self.rows[0].asked.forced:
            columns = step.columns.tolist()
            widths = [None if width is None else max(width, at + 1) for width, at in zip(widths, columns, strict=True)]
        for at, (row, choice) in enumerate(zip(self.rows, trace_step(step, widths), strict=True)):
            if row.asked.outbox is not None and at in faults:
                row.asked.outbox.fault = faults[at]
            elif row.asked.outbox is not None:
                row.asked.outbox.choices.append(choice)

    def _candidates(self, logits: Float[Tensor, "rows vocabulary"]) -> tuple[Candidates, Int[Tensor, " rows"] | None]:
        """C, and the columns of the forced tokens if there are any."""
        if not self.rows[0].asked.forced:
            return self._sampling.candidates(logits), None
        targets = [row.asked.forced[min(len(row.written), len(row.asked.forced) - 1)] for row in self.rows]
        width = max((row.asked.params.top_k or 0 for row in self.rows), default=0)
        return with_target(logits, torch.tensor(targets, device=logits.device), width or None)

    def _prefixes(self) -> tuple[Int[Tensor, "rows slots"], Bool[Tensor, "rows slots"]]:
        batch = PromptBatch.pad([row.ids for row in self.rows], 0, self._sampling.keys.device)
        return batch.ids, batch.mask


def _steers(rows: Sequence[BatchRow], source_of: SourceOf) -> list[Steer | None]:
    """The rows' steers by rewards that read the states of exactly these rows."""
    steers = [row.asked.steer for row in rows]
    over_rows = {
        id(reward): RowReward(reward, *source_of(reward), [row for row in rows if _uses(row.asked.steer, reward)])
        for reward in distinct_rewards(steers)
    }
    return [
        Steer(tuple(replace(term, reward=over_rows[id(term.reward)]) for term in steer.terms)) if steer else None
        for steer in steers
    ]


def _request(row: BatchRow) -> Request:
    """What the row's noise depends on."""
    asked, start = row.asked, len(row.prompt) - row.asked.begun
    written = tuple(row.prompt[start:])
    return Request(row.prompt[:start], replace(asked.params, n=1), written=written, first_sample=asked.sample)


def _uses(steer: Steer | None, reward: Reward) -> bool:
    return steer is not None and any(term.reward is reward for term in steer.terms)
