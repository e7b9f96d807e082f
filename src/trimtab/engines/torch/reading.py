"""What the model, steered or not, thinks of each token of given texts, as the choices that writing them would leave."""

from collections.abc import Iterator, Sequence

import torch

from trimtab.engines.base import Choice
from trimtab.engines.torch.loop import Step
from trimtab.engines.torch.scoring import MAX_LOGITS, check_room, forced_steps, pad_right, with_target
from trimtab.engines.torch.trace import trace_step
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.kv_cache import KVCache
from trimtab.models.usage import Usage
from trimtab.steering.rule import base_logprobs
from trimtab.steering.steer import Steer


@torch.inference_mode()
def read_texts(
    lm: FrozenLM,
    texts: Sequence[Sequence[int]],
    steer: Steer | None = None,
    top_k: int | None = None,
    usage: Usage | None = None,
    max_kl: float | None = None,
) -> list[tuple[Choice, ...]]:
    """The choice of each token of each text but the first, which nothing stands before.

    Without a steer, one forward call reads many texts; with one, a step per token, as generation would have written
    them.

    Args:
        lm: the language model.
        texts: one or more token ids each.
        steer: None for the model's own probabilities.
        top_k: the candidates of each choice; None for the whole vocabulary. A token that is not among them is added.
        usage: counts what goes through the models.
        max_kl: the steer's budget, in nats per token; None for no budget.

    Raises:
        InvalidPrompt: a text is longer than the context of the model, or of a reward.
        NonFiniteReward, NonFiniteLogits: with a steer; a reward or a logit is NaN or infinite.
    """
    check_room(lm, list(map(len, texts)), steer)
    read: list[tuple[Choice, ...]] = []
    for group in _groups(texts, lm.output_embedding.shape[0]):
        choices: list[list[Choice]] = [[] for _ in group]
        steps = _steered_steps(lm, group, steer, top_k, usage, max_kl) if steer else _steps(lm, group, top_k, usage)
        for step, owners in steps:
            for owner, choice in zip(owners, trace_step(step, _widths(step, top_k)), strict=True):
                choices[owner].append(choice)
        read += [tuple(of_text[: len(text) - 1]) for of_text, text in zip(choices, group, strict=True)]
    return read


def _groups(texts: Sequence[Sequence[int]], vocabulary: int) -> Iterator[list[Sequence[int]]]:
    """The texts in groups whose logits fit into memory; a long text is a group of its own."""
    group: list[Sequence[int]] = []
    for text in texts:
        widest = max(map(len, [*group, text]))
        if group and widest * (len(group) + 1) * vocabulary > MAX_LOGITS:
            yield group
            group = []
        group.append(text)
    yield group


def _steps(
    lm: FrozenLM, texts: Sequence[Sequence[int]], top_k: int | None, usage: Usage | None
) -> Iterator[tuple[Step, list[int]]]:
    """Steps that have tokens of every text as their rows, as many as fit into memory, and the text of each row."""
    ids, within = pad_right(texts, lm.device)
    cache, room = KVCache(lm.model, usage=usage), max(1, MAX_LOGITS // (len(texts) * lm.output_embedding.shape[0]))
    for start in range(0, ids.shape[1] - 1, room):
        given, following = ids[:, start:-1][:, :room], ids[:, start + 1 :][:, :room]
        with lm.lock:
            logits = cache.feed(given, logits=given.shape[1]).logits.float()
        owners, places = within[:, start + 1 :][:, :room].nonzero(as_tuple=True)
        rows, targets = logits[owners, places], following[owners, places]
        candidates, columns = with_target(rows, targets, top_k)
        base = base_logprobs(rows, candidates.ids)
        yield Step(targets, columns, candidates, base, candidates.logits, {}), owners.tolist()


def _steered_steps(
    lm: FrozenLM,
    texts: Sequence[Sequence[int]],
    steer: Steer,
    top_k: int | None,
    usage: Usage | None,
    max_kl: float | None,
) -> Iterator[tuple[Step, list[int]]]:
    """A step for each token of the texts, which has the texts as rows that have that many."""
    longer = [owner for owner, text in enumerate(texts) if len(text) > 1]
    if not longer:
        return
    first, rest = zip(*((texts[owner][:1], texts[owner][1:]) for owner in longer), strict=True)
    rows = torch.arange(len(longer), device=lm.device)
    for step, written in forced_steps(lm, first, rows, rest, steer, top_k, usage, max_kl):
        yield step, [longer[text] for text in written]


def _widths(step: Step, top_k: int | None) -> list[int | None]:
    """How many candidates each row has: the top_k, and its token if it is not among them."""
    if top_k is None:
        return [None] * len(step.tokens)
    return [max(top_k, column + 1) for column in step.columns.tolist()]
