"""The likelihood of given tokens: vLLM's prompt log-probs without a steer, forced tokens with one."""

from collections.abc import Sequence
from typing import Any

import torch

from trimtab.engines.base import Choice, Scored
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.vllm.asked import Asked, Outbox
from trimtab.engines.vllm.request_pool import RequestPool, RunningRequest
from trimtab.models.frozen_lm import FrozenLM
from trimtab.steering.steer import Steer

Texts = Sequence[Sequence[int]]


def measured(pool: RequestPool, prefixes: Texts, continuations: Texts) -> tuple[list[float], list[bool]]:
    """log p of each continuation behind its prefix, and whether each of its tokens was the most likely one.

    One forward call reads a text; it reads nothing from vLLM's prefix cache.

    Raises:
        InvalidPrompt: prefix and continuation leave no room for a token.
    """
    pairs = list(zip(prefixes, continuations, strict=True))
    for prefix, tokens in pairs:
        pool.check_room(len(prefix) + len(tokens) + 1)  # vLLM adds a token of its own
    running = [pool.measure([*prefix, *tokens]) for prefix, tokens in pairs]
    _run(pool, running)
    logprobs, greedy = [], []
    for request, (prefix, tokens) in zip(running, pairs, strict=True):
        found: list[Any] = [at[token] for at, token in zip(request.likelihoods[len(prefix) :], tokens, strict=True)]  # type: ignore[index]
        logprobs.append(sum(each.logprob for each in found))
        greedy.append(all(each.rank == 1 for each in found))
    return logprobs, greedy


def forced_choices(
    pool: RequestPool,
    base: FrozenLM,
    prefixes: Texts,
    continuations: Texts,
    steer: Steer | None,
    top_k: int | None,
    max_kl: float | None,
) -> list[tuple[Choice, ...]]:
    """The choice of each token of each continuation behind its prefix: a step for each, all texts as one batch.

    Args:
        pool: runs the steps.
        base: the model in this process.
        prefixes: token ids, at least one each.
        continuations: token ids; an empty one has no choices.
        steer: None for the model's own probabilities.
        top_k: the candidates of each choice; a token that is not among them is added. None for the whole vocabulary.
        max_kl: the steer's budget, in nats per token; None for no budget.

    Raises:
        InvalidPrompt: prefix and continuation are longer than the context.
        NonFiniteReward, NonFiniteLogits: a reward or a logit is NaN or infinite.
    """
    for prefix, tokens in zip(prefixes, continuations, strict=True):
        pool.check_room(len(prefix) + len(tokens))
    params = SamplingParams(top_k=top_k, max_kl=max_kl, seed=0)
    boxes = [Outbox() for _ in prefixes]
    running = [
        pool.write(prefix, Asked(params, steer, base, forced=tuple(tokens), outbox=box), len(tokens), [])
        for prefix, tokens, box in zip(prefixes, continuations, boxes, strict=True)
        if tokens
    ]
    _run(pool, running, boxes)
    return [tuple(box.choices) for box in boxes]


def _run(pool: RequestPool, running: Sequence[RunningRequest], boxes: Sequence[Outbox] = ()) -> None:
    """Run steps until requests are done. Other threads take turns, and their steps run these requests too.

    Raises:
        NonFiniteReward, NonFiniteLogits: the fault in an outbox, whoever ran its step.
    """
    try:
        while not all(request.done for request in running) and not any(box.fault for box in boxes):
            pool.step()
    finally:
        for request in running:
            pool.end(request)
    if fault := next((box.fault for box in boxes if box.fault), None):
        raise fault


def scored(choices: Sequence[Sequence[Choice]], steered: bool) -> Scored:
    """The likelihood of continuations from the choices that were forced.

    Args:
        choices: of each continuation.
        steered: whether a steer is part of it; else it is the model's own, over the whole vocabulary.
    """
    logprobs = [sum(each.logprob if steered else each.base_logprob for each in of_text) for of_text in choices]
    greedy = [all(int(each.steered_logprobs.argmax()) == each.column for each in of_text) for of_text in choices]
    return Scored(torch.tensor(logprobs), torch.tensor(greedy))
