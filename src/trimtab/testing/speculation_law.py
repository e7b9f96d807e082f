"""The law of speculation: drafts change no text, whatever they are."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from trimtab.engines.base import Choice, Chunk, Continuation, Request, collect
from trimtab.engines.torch.engine import TorchEngine

TRACE_TOLERANCE = 1e-3  # absolute and relative: a forward call of several tokens rounds otherwise than calls of one


def assert_speculation_changes_nothing(
    engine: TorchEngine, requests: Sequence[Request], speculate: str = "lookup", steps_before: int | None = None
) -> list[list[Continuation]]:
    """Tokens, traces and finish reasons are those of the plain loop.

    In float32, up to ties that rounding breaks.

    Args:
        engine: has the proposer.
        requests: written in one batch.
        speculate: the name of the proposer.
        steps_before: add the requests one by one, with this many calls before each; default: all at once.

    Returns:
        The continuations, with their usage.
    """
    drafted = [replace(each, params=replace(each.params, speculate=speculate)) for each in requests]
    found = engine.sample(drafted) if steps_before is None else _joined(engine, drafted, steps_before)
    plain = engine.sample([replace(each, params=replace(each.params, speculate=None)) for each in requests])
    for of_request, expected in zip(found, plain, strict=True):
        for one, other in zip(of_request, expected, strict=True):
            assert one.token_ids == other.token_ids, f"drafts change {other.token_ids} into {one.token_ids}"
            assert one.finish_reason == other.finish_reason, f"{one.finish_reason} is not {other.finish_reason}"
            for choices in zip(one.choices, other.choices, strict=True):
                _assert_same_choice(*choices)
    return found


def _joined(engine: TorchEngine, requests: Sequence[Request], steps_before: int) -> list[list[Continuation]]:
    """The requests, each added after some steps of those before it."""
    batch, chunks = engine.start_batch(), list[list[Chunk]]()
    for request in requests:
        batch.add([request], engine.limits([request]))
        chunks += [batch.step() for _ in range(steps_before) if batch.active]
    while batch.active:
        chunks.append(batch.step())
    return collect(requests, chunks)


def _assert_same_choice(found: Choice, expected: Choice) -> None:
    assert found.column == expected.column
    assert found.candidates.tolist() == expected.candidates.tolist(), "drafts change the candidates"
    pairs = [(found.base_logprobs, expected.base_logprobs), (found.steered_logprobs, expected.steered_logprobs)]
    pairs += zip(_used_rewards(found), _used_rewards(expected), strict=True)
    pairs.append((torch.tensor([found.kl, found.scale]), torch.tensor([expected.kl, expected.scale])))
    for one, other in pairs:
        close = torch.isclose(one, other, rtol=TRACE_TOLERANCE, atol=TRACE_TOLERANCE)
        assert bool(close.all()), f"drafts change a trace: {one} is not {other}"


def _used_rewards(choice: Choice) -> list[torch.Tensor]:
    """The rewards that steer the row, in an order of their own: a batch numbers rewards of one name."""
    return sorted((each for each in choice.rewards.values() if not each.isnan().all()), key=torch.Tensor.tolist)
