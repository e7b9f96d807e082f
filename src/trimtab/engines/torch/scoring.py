"""The likelihood of given continuations, unsteered or steered; the rewards of whole texts."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trimtab.engines.base import Scored
from trimtab.engines.torch.guide import Guide
from trimtab.engines.torch.loop import Step
from trimtab.errors import InvalidPrompt
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.kv_cache import KVCache
from trimtab.models.packed_texts import PackedTexts
from trimtab.models.prefix_cache import PrefixCache
from trimtab.models.usage import Usage
from trimtab.rewards.finite import check_finite
from trimtab.steering.reward import ExplainsFaults, Reward, RewardState
from trimtab.steering.rule import Candidates, base_logprobs, top_candidates
from trimtab.steering.steer import Steer, distinct_rewards, readers_of

MAX_LOGITS = 1 << 26  # numbers of one forward call; a quarter of a gigabyte in float32


@torch.inference_mode()
def score_continuations(
    lm: FrozenLM,
    prefixes: Sequence[Sequence[int]],
    owners: Sequence[int],
    continuations: Sequence[Sequence[int]],
    steer: Steer | None = None,
    top_k: int | None = None,
    usage: Usage | None = None,
    max_kl: float | None = None,
) -> Scored:
    """Score continuations; each prefix is encoded once.

    Unsteered continuations take one forward call, steered ones a step per token.

    Args:
        lm: the language model.
        prefixes: token ids.
        owners: the index of the prefix that each continuation follows.
        continuations: one or more token ids each.
        steer: None for the model's own probabilities over its whole vocabulary.
        top_k: with a steer, the candidates per step; None for the whole vocabulary. A continuation's token that is not
            among them is added: else its text would have probability 0.
        usage: counts what goes through the models.
        max_kl: the steer's budget, in nats per token; None for no budget.

    Raises:
        InvalidPrompt: prefix and continuation are longer than the context of the model, or of a reward. The last token
            is no input of the model.
    """
    check_room(lm, [len(prefixes[row]) + len(ids) for row, ids in zip(owners, continuations, strict=True)], steer)
    rows = torch.tensor(owners, device=lm.device)
    if steer is None:
        return _unsteered(lm, prefixes, rows, continuations, usage)
    return _steered(lm, prefixes, rows, continuations, steer, top_k, usage, max_kl)


def check_room(lm: FrozenLM, lengths: Sequence[int], steer: Steer | None = None) -> None:
    """Refuse texts that are too long to score. The last token is no input of the model.

    Raises:
        InvalidPrompt: one is longer than the context of the model, or of a reward.
    """
    rooms = [reward.context_length - reward.extra_tokens for reward in distinct_rewards([steer])]
    if (longest := max(lengths)) > (room := min([lm.context_length + 1, *rooms])):
        raise InvalidPrompt(f"got a text of {longest} tokens to score, expected at most {room}")


def pad_right(texts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids padded on the right, and a mask that is False in the padding."""
    width = max(map(len, texts))
    ids = torch.tensor([[*text, *[text[-1]] * (width - len(text))] for text in texts], device=device)
    lengths = torch.tensor([len(text) for text in texts], device=device)
    return ids, torch.arange(width, device=device) < lengths[:, None]


def score_packed(
    lm: FrozenLM,
    prefixes: Sequence[Sequence[int]],
    owners: Sequence[int],
    continuations: Sequence[Sequence[int]],
    prefix_cache: PrefixCache,
    usage: Usage | None = None,
) -> Scored:
    """Score unsteered continuations whose prefixes share beginnings; every shared token is encoded once.

    The prefix cache receives what several prefixes share. Arguments and errors as in `score_continuations`.
    """
    check_room(lm, [len(prefixes[row]) + len(ids) for row, ids in zip(owners, continuations, strict=True)])
    pairs = [(tuple(prefixes[row]), tuple(ids[:-1])) for row, ids in zip(owners, continuations, strict=True)]
    texts: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = {}
    for number, pair in enumerate(pairs):
        texts.setdefault(pair, []).append(number)
    whole, last = [prefix + start for prefix, start in texts], [len(start) + 1 for _, start in texts]
    sums, greedy = torch.zeros(2, len(pairs), device=lm.device).unbind()
    read = PackedTexts(lm.model, prefix_cache, whole, last, usage).logits_in_turn()
    for numbers, logits in zip(texts.values(), read, strict=True):
        logprobs = logits.log_softmax(-1)
        for number in numbers:
            tokens = torch.tensor(continuations[number], device=lm.device)
            sums[number] = logprobs.gather(1, tokens[:, None]).sum()
            greedy[number] = (logprobs.argmax(1) == tokens).all()
    return Scored(sums, greedy.bool())


@torch.inference_mode()
def reward_texts(
    lm: FrozenLM,
    reward: Reward,
    texts: Sequence[Sequence[int]],
    prefix_cache: PrefixCache | None = None,
    usage: Usage | None = None,
) -> Float[Tensor, "texts attributes"]:
    """The rewards of whole texts, unclamped: of each text's last token behind all others, in one forward call.

    Args:
        lm: the language model; a reward on its own hidden state reads it.
        reward: the reward.
        texts: two or more token ids each; one is enough for a reward that puts BOS before a text.
        prefix_cache: prefixes that were encoded before.
        usage: counts what goes through the models.

    Raises:
        InvalidPrompt: a text is longer than the reward's context, or so short that it has no reward.
        NonFiniteReward: a reward is NaN or infinite.
    """
    longest, shortest = max(map(len, texts)), min(map(len, texts))
    if longest > reward.context_length - reward.extra_tokens:
        raise InvalidPrompt(f"got a text of {longest} tokens to rank, which {reward.name!r} has no room for")
    if not shortest or shortest + reward.extra_tokens < 2:
        raise InvalidPrompt(f"got a text of {shortest} tokens to rank, of which {reward.name!r} knows no reward")
    reader = reward.reads(lm.model)
    if reader is not None and reward.extra_tokens:  # a trunk of its own puts BOS before a text; the host does not
        texts = [ids if ids[0] == lm.bos_token_id else [*lm.codec.opening_ids(), *ids] for ids in texts]
    before = lm.batch([ids[:-1] for ids in texts])
    host = KVCache(lm.model, [] if reader is None else [reader], prefix_cache, usage)
    if reader is not None:
        host.feed(before.ids, before.mask)
    state = reward.start(host)
    state.prefill(before.ids, before.mask)
    last = torch.tensor([ids[-1:] for ids in texts], device=lm.device)
    rewards = state.rewards(last)[:, 0].float()
    _raise_explained(state, len(texts))
    check_finite(reward, rewards, last[:, 0], lm.codec)
    for holder in (host, state):
        holder.select(torch.empty(0, dtype=torch.long, device=lm.device))  # into the prefix cache
    return rewards


def _raise_explained(state: RewardState, rows: int) -> None:
    """Raise what a state says of the first row that it could not score."""
    explained = [state.fault(row) for row in range(rows)] if isinstance(state, ExplainsFaults) else []
    if fault := next(filter(None, explained), None):
        raise fault


def _unsteered(
    lm: FrozenLM,
    prefixes: Sequence[Sequence[int]],
    rows: Int[Tensor, " texts"],
    continuations: Sequence[Sequence[int]],
    usage: Usage | None,
) -> Scored:
    """A forward call for the prefixes, and one for as many columns of the continuations as have room.

    Padding, and last tokens, are masked: they have the position of the token before, which the context holds.
    """
    tokens, within = pad_right(continuations, lm.device)
    cache, batch = KVCache(lm.model, usage=usage), lm.batch(prefixes)
    with lm.lock:
        found = [_likelihood(cache.feed(batch.ids, batch.mask).logits[rows], tokens[:, :1])]
        cache.select(rows)
    room = max(1, MAX_LOGITS // (len(rows) * lm.output_embedding.shape[0]))
    for start in range(0, tokens.shape[1] - 1, room):
        given, targets = tokens[:, start:-1][:, :room], tokens[:, start + 1 :][:, :room]
        read = within[:, start + 1 :][:, :room]
        with lm.lock:
            found.append(_likelihood(cache.feed(given, read, given.shape[1]).logits, targets))
    logprobs, greedy = (torch.cat(part, 1) for part in zip(*found, strict=True))
    return Scored((logprobs * within).sum(1), (greedy | ~within).all(1))


def _likelihood(
    logits: Float[Tensor, "texts places vocabulary"], tokens: Int[Tensor, "texts places"]
) -> tuple[Float[Tensor, "texts places"], Bool[Tensor, "texts places"]]:
    """The log-probability of each token, and whether it is the most likely one."""
    wide = logits.float()
    return wide.gather(2, tokens[..., None]).squeeze(2) - wide.logsumexp(2), wide.argmax(2) == tokens


def _steered(
    lm: FrozenLM,
    prefixes: Sequence[Sequence[int]],
    rows: Int[Tensor, " texts"],
    continuations: Sequence[Sequence[int]],
    steer: Steer,
    top_k: int | None,
    usage: Usage | None,
    max_kl: float | None,
) -> Scored:
    """One step per token."""
    total = torch.zeros(len(continuations), device=lm.device)
    greedy = torch.ones_like(total, dtype=torch.bool)
    for step, texts in forced_steps(lm, prefixes, rows, continuations, steer, top_k, usage, max_kl):
        logprobs = step.steered.float().log_softmax(-1).gather(1, step.columns[:, None]).squeeze(1)
        total[texts] += logprobs
        greedy[texts] &= step.steered.argmax(-1) == step.columns
    return Scored(total, greedy)


def forced_steps(
    lm: FrozenLM,
    prefixes: Sequence[Sequence[int]],
    rows: Int[Tensor, " texts"],
    texts: Sequence[Sequence[int]],
    steer: Steer,
    top_k: int | None,
    usage: Usage | None = None,
    max_kl: float | None = None,
) -> Iterator[tuple[Step, list[int]]]:
    """The steps that write given texts after their prefixes, and the texts that each of them writes.

    A text leaves at its end, so that none is read beyond the model's context. The model's lock is held during each
    step, so that other requests take turns with these.

    Args:
        lm, prefixes, steer, top_k, usage, max_kl: as in `score_continuations`.
        rows: the prefix that each text follows.
        texts: what is written; the last candidate of a row that does not have its token among the top_k is the token.
    """
    host, batch = KVCache(lm.model, readers_of([steer], lm.model), usage=usage), lm.batch(prefixes)
    guide = Guide([steer] * len(prefixes), lm.device, host)
    with lm.lock:
        logits = host.feed(batch.ids, batch.mask).logits[:, -1].float()
        guide.prefill(batch)
        host.select(rows)
        guide.select(rows)
    logits, (tokens, _), writing = logits[rows], pad_right(texts, lm.device), list(range(len(texts)))
    ends = set(map(len, texts))
    for place in range(max(ends)):
        written = writing
        with lm.lock:
            target = tokens[:, place]
            candidates, column = with_target(logits, target, top_k)
            budget = None if max_kl is None else logits.new_full(logits.shape[:1], max_kl)
            steered, rewards = guide.steer(candidates, logits, budget)
            base = base_logprobs(logits, candidates.ids)
            step = Step(target, column, candidates, base, steered, rewards, guide.finite, guide.scale)
            if place + 1 in ends:
                staying = [row for row, text in enumerate(written) if len(texts[text]) > place + 1]
                writing, kept = [written[row] for row in staying], torch.tensor(staying, device=lm.device).long()
                host.select(kept)
                guide.select(kept)
                tokens, target, column = tokens[kept], target[kept], column[kept]
            if writing:
                guide.advance(target, column)
                logits = host.feed(target[:, None]).logits[:, -1].float()
        yield step, written


def with_target(
    logits: Float[Tensor, "texts vocabulary"], target: Int[Tensor, " texts"], top_k: int | None
) -> tuple[Candidates, Int[Tensor, " texts"]]:
    """The candidates, the target among them, and its column: the last one if it is not among the top_k."""
    found = top_candidates(logits, top_k, None)
    if found.whole:
        return found, target
    same = found.ids == target[:, None]
    inside = same.any(1)
    extra = logits.gather(1, target[:, None]).masked_fill(inside[:, None], -torch.inf)
    column = torch.where(inside, same.int().argmax(1), found.ids.shape[1])
    return Candidates(torch.cat([found.ids, target[:, None]], 1), torch.cat([found.logits, extra], 1), False), column
