"""From a step's tensors to the choices that users read, on the CPU."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from trimtab.engines.base import Choice
from trimtab.engines.torch.loop import Step
from trimtab.steering.kl_budget import kl_to_base

TRACE_WIDTH = 1024  # candidates of a row that are all kept
KEPT_OF_MORE = 64


def trace_step(step: Step, widths: Sequence[int | None]) -> list[Choice]:
    """The choice of each row. Of more than TRACE_WIDTH candidates the KEPT_OF_MORE best are kept.

    Args:
        step: the step.
        widths: each row's number of candidates; None for the whole vocabulary.
    """
    all_columns = step.steered.shape[1]
    counts = [min(width or all_columns, all_columns) for width in widths]
    first = max((count for count in counts if count <= TRACE_WIDTH), default=0)
    short = _choices(step, _first_columns(step, first)) if first else []
    long = _choices(step, _best_columns(step)) if max(counts) > TRACE_WIDTH else []
    return [_cut(short[row], count) if count <= TRACE_WIDTH else long[row] for row, count in enumerate(counts)]


def _first_columns(step: Step, count: int) -> Tensor | None:
    """The first columns; None for all."""
    if count == step.steered.shape[1]:
        return None
    return torch.arange(count, device=step.steered.device).expand(step.steered.shape[0], count)


def _best_columns(step: Step) -> Tensor:
    """The chosen column, the best before steering and the best after it, each once, in the order of the candidates."""
    always = torch.stack([step.columns, step.base_logprobs.argmax(-1)], dim=1)
    ranking = step.steered.scatter(1, always, torch.inf)
    return ranking.topk(KEPT_OF_MORE, dim=-1).indices.sort(dim=-1).values


def _choices(step: Step, kept: Tensor | None) -> list[Choice]:
    ids, base = _narrow(step.candidates.ids, kept), _narrow(step.base_logprobs, kept)
    steered = _narrow(step.steered.log_softmax(-1), kept)
    rewards = {name: _narrow(values, kept) for name, values in step.rewards.items()}
    places = (step.columns if kept is None else (kept == step.columns[:, None]).int().argmax(1)).tolist()
    spent, scales = _spent(step)
    return [
        Choice(
            token,
            place,
            ids[row],
            base[row],
            steered[row],
            {name: values[row] for name, values in rewards.items()},
            spent[row],
            scales[row],
        )
        for row, (token, place) in enumerate(zip(step.tokens.tolist(), places, strict=True))
    ]


def _spent(step: Step) -> tuple[list[float], list[float]]:
    """The KL to the base and the scale of each row, over all of its candidates."""
    rows = len(step.tokens)
    kl = kl_to_base(step.steered, step.candidates.logits).tolist() if step.rewards else [0.0] * rows
    return kl, [1.0] * rows if step.scale is None else step.scale.tolist()


def _cut(choice: Choice, count: int) -> Choice:
    """A choice with its first candidates only; the others belong to wider rows of its batch."""
    if len(choice.candidates) == count:
        return choice
    rewards = {name: values[:count] for name, values in choice.rewards.items()}
    return replace(
        choice,
        candidates=choice.candidates[:count],
        base_logprobs=choice.base_logprobs[:count],
        steered_logprobs=choice.steered_logprobs[:count],
        rewards=rewards,
    )


def _narrow(values: Tensor, columns: Tensor | None) -> Tensor:
    return (values if columns is None else values.gather(1, columns)).cpu()
