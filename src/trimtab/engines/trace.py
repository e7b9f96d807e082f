"""What a step leaves behind for the reader: each row's token and what it was chosen from, on the CPU."""

import torch
from torch import Tensor

from trimtab.engines.base import Choice
from trimtab.engines.loop import Step

TRACE_WIDTH = 64


def trace_step(step: Step) -> list[Choice]:
    """One step's choices, a row each, on the CPU; of more than TRACE_WIDTH candidates the best are kept."""
    logprobs = step.steered.log_softmax(-1)
    columns = step.columns[:, None]
    kept = None
    if step.steered.shape[1] > TRACE_WIDTH:
        best = step.steered.topk(TRACE_WIDTH - 2, dim=-1).indices
        kept = torch.cat([best, step.base_logprobs.argmax(-1, keepdim=True), columns], dim=1)
        columns = torch.full_like(columns, TRACE_WIDTH - 1)
    ids, base, steered = (_narrow(of, kept) for of in (step.candidates.ids, step.base_logprobs, logprobs))
    rewards = {name: _narrow(of, kept) for name, of in step.rewards.items()}
    return [
        Choice(token, column, ids[row], base[row], steered[row], {name: of[row] for name, of in rewards.items()})
        for row, (token, (column,)) in enumerate(zip(step.tokens.tolist(), columns.tolist(), strict=True))
    ]


def _narrow(values: Tensor, columns: Tensor | None) -> Tensor:
    if columns is None:
        return values.cpu()
    return values.gather(1, columns).cpu()
