"""The laws that every reward, trunk and engine must keep, as assertions that anyone who writes one can run.

Each compares with an independent computation: a forward without a cache, one row at a time, transformers' own generate.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import isclose
from pathlib import Path
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

from trimtab.frozen.cache import PrefixCache
from trimtab.frozen.lm import FrozenLM, PromptBatch
from trimtab.frozen.memory import Memory
from trimtab.frozen.packed import PackedTexts
from trimtab.lm import LanguageModel
from trimtab.rewards.alternatives import score_alternatives
from trimtab.rewards.model import RewardModel
from trimtab.rewind.record import DIGITS
from trimtab.rewind.settings import RewindSettings
from trimtab.steering.reward import Reward, RewardState
from trimtab.steering.steer import Steer, Term

TOLERANCE = 1e-4
Ids = Sequence[int]


def separate_rewards(reward: RewardModel, prefix: Ids, candidates: Ids) -> Float[Tensor, "k attributes"]:
    """The rewards of candidates by k separate forwards over the whole text: no cache, no batch, no padding."""
    return torch.cat([reward.score_ids([[*prefix, candidate]]).values[:, -1] for candidate in candidates])


@torch.inference_mode()
def assert_cached_equals_recomputed(
    reward: RewardModel, prompt: Ids, continuation: Ids, candidates: Ids, tolerance: float = TOLERANCE
) -> None:
    """A state that has advanced token by token scores like a forward over the whole text (for RAD: k forwards)."""
    state = _prefilled(reward, [prompt])
    for place, token in enumerate(continuation):
        scored = state.rewards(torch.tensor([candidates]))[0]
        _assert_close(scored, separate_rewards(reward, [*prompt, *continuation[:place]], candidates), tolerance)
        state.advance(torch.tensor([token]))


@torch.inference_mode()
def assert_alternatives_equal_separate(
    reward: RewardModel, texts: Sequence[Ids], candidates: Ids, tolerance: float = TOLERANCE
) -> None:
    """Scoring candidates in every place of a padded batch of texts is scoring each with a forward of its own."""
    batch = PromptBatch.pad(texts, reward.base.pad_token_id, reward.base.device)
    asked = torch.tensor(candidates).expand(*batch.ids.shape, len(candidates))
    scored = score_alternatives(reward.network, batch.ids, batch.mask, asked)
    for row, text in enumerate(texts):
        for place in range(0 if reward.extra_tokens else 1, len(text)):
            expected = separate_rewards(reward, text[:place], candidates)
            _assert_close(scored[row, place - len(text)], expected, tolerance)


@torch.inference_mode()
def assert_kept_column_equals_fed(
    reward: RewardModel, prompt: Ids, candidates: Ids, tolerance: float = TOLERANCE
) -> None:
    """Advancing by a scored candidate, whose cache column is kept, is advancing by its token."""
    for column, token in enumerate(candidates):
        state = _prefilled(reward, [prompt])
        state.rewards(torch.tensor([candidates]))
        state.advance(torch.tensor([token]), torch.tensor([column]))
        expected = separate_rewards(reward, [*prompt, token], candidates)
        _assert_close(state.rewards(torch.tensor([candidates]))[0], expected, tolerance)


@torch.inference_mode()
def assert_batched_equals_single(
    reward: RewardModel, prompts: Sequence[Ids], candidates: Ids, tolerance: float = TOLERANCE
) -> None:
    """A left-padded batch of prompts of different lengths scores each as if it were alone, also after a step."""
    state = _prefilled(reward, prompts)
    rows = torch.tensor([list(candidates)] * len(prompts))
    for taken in range(2):
        scored = state.rewards(rows)
        for row, prompt in enumerate(prompts):
            expected = separate_rewards(reward, [*prompt, *candidates[:taken]], candidates)
            _assert_close(scored[row], expected, tolerance)
        state.advance(rows[:, taken])


@torch.inference_mode()
def assert_padding_changes_nothing(
    reward: RewardModel, prompt: Ids, candidates: Ids, padding: int = 3, tolerance: float = TOLERANCE
) -> None:
    """Left padding, of whatever token, changes no reward."""
    for filler in (0, reward.base.pad_token_id, prompt[0]):
        ids = torch.tensor([[filler] * padding + list(prompt)])
        mask = torch.tensor([[False] * padding + [True] * len(prompt)])
        state = reward.start()
        state.prefill(ids, mask)
        scored = state.rewards(torch.tensor([candidates]))[0]
        _assert_close(scored, separate_rewards(reward, prompt, candidates), tolerance)


@torch.inference_mode()
def assert_candidates_equal_vocabulary(
    reward: RewardModel, prompt: Ids, candidates: Ids, tolerance: float = TOLERANCE
) -> None:
    """Scoring gathered candidates is gathering from the scored vocabulary (Q-heads)."""
    state = _prefilled(reward, [prompt])
    everything = state.rewards(None)[0]
    _assert_close(state.rewards(torch.tensor([candidates]))[0], everything[list(candidates)], tolerance)


@torch.inference_mode()
def assert_rollback_replays(
    reward: RewardModel, prompt: Ids, detour: Ids, path: Ids, candidates: Ids, tolerance: float = TOLERANCE
) -> None:
    """Taking a detour back and going another way is never having taken it."""
    state = _prefilled(reward, [prompt])
    for token in detour:
        state.rewards(torch.tensor([candidates]))
        state.advance(torch.tensor([token]))
    state.rewards(torch.tensor([candidates]))
    state.rollback(len(detour))
    scored = state.rewards(torch.tensor([candidates]))[0]
    _assert_close(scored, separate_rewards(reward, prompt, candidates), tolerance)
    for token in path:
        state.advance(torch.tensor([token]))
    scored = state.rewards(torch.tensor([candidates]))[0]
    _assert_close(scored, separate_rewards(reward, [*prompt, *path], candidates), tolerance)


@torch.inference_mode()
def assert_forks_are_independent(
    reward: RewardModel, prompts: Sequence[Ids], candidates: Ids, tolerance: float = TOLERANCE
) -> None:
    """Rows forked, re-ordered and dropped by `select` go their own ways."""
    state = _prefilled(reward, prompts)
    chosen = [len(prompts) - 1, 0, 0]
    state.select(torch.tensor(chosen))
    tokens = list(candidates)[: len(chosen)]
    state.advance(torch.tensor(tokens))
    scored = state.rewards(torch.tensor([list(candidates)] * len(chosen)))
    for row, (prompt, token) in enumerate(zip(chosen, tokens, strict=True)):
        _assert_close(scored[row], separate_rewards(reward, [*prompts[prompt], token], candidates), tolerance)


def assert_save_load_identical(reward: RewardModel, lm: FrozenLM, text: Ids, folder: Path) -> None:
    """A reward saved and loaded scores with the same bits and has the same card."""
    reward.save_pretrained(folder)
    loaded = RewardModel.from_folder(folder, load_base=lambda name: lm, lm=lm)
    assert loaded.card == reward.card, f"the card changed: {loaded.card}"
    before, after = reward.score_ids([text]).values, loaded.score_ids([text]).values
    assert torch.equal(before, after), f"scores changed by {(before - after).abs().max():.3g}"


@torch.inference_mode()
def assert_host_cache_rewinds(lm: FrozenLM, prompt: Ids, detour: Ids, tolerance: float = TOLERANCE) -> None:
    """The language model's own cache, fed, rolled back and fed again, gives the logits of a forward without a cache."""
    cache = PrefixCache(lm.model)
    batch = lm.batch([prompt])
    cache.feed(batch.ids, batch.mask)
    for token in detour:
        cache.feed(torch.tensor([[token]]))
    cache.rollback(len(detour))
    logits = cache.feed(torch.tensor([[detour[-1]]])).logits[0, -1]
    whole = lm.model(torch.tensor([[*prompt, detour[-1]]]), use_cache=False).logits[0, -1]
    _assert_close(logits, whole, tolerance)


@torch.inference_mode()
def assert_memory_changes_nothing(
    lm: FrozenLM, texts: Sequence[Ids], memory: Memory | None = None, tolerance: float = TOLERANCE
) -> None:
    """Behind remembered prefixes, a batch of texts has the logits of forwards without a cache, and costs fewer tokens.

    The first half of each text is encoded first, then all of them, padded on the left where they differ in length.
    """
    memory = memory or Memory()
    starts = lm.batch([text[: len(text) // 2 or 1] for text in texts])
    first = PrefixCache(lm.model, memory=memory)
    first.feed(starts.ids, starts.mask)
    first.remember()
    before = memory.spent.tokens
    batch = lm.batch(texts)
    logits = PrefixCache(lm.model, memory=memory).feed(batch.ids, batch.mask).logits[:, -1]
    for row, text in zip(logits, texts, strict=True):
        _assert_close(row, lm.model(torch.tensor([list(text)]), use_cache=False).logits[0, -1], tolerance)
    spent = memory.spent.tokens - before
    assert spent < batch.ids.numel(), f"{spent} tokens were encoded, all {batch.ids.numel()} of the batch"


@torch.inference_mode()
def assert_packed_equals_alone(
    lm: FrozenLM, texts: Sequence[Ids], last: Sequence[int], tolerance: float = TOLERANCE
) -> None:
    """Texts packed into one row have the logits of forwards of their own; asked again, with a part remembered, too."""
    memory = Memory()
    for _ in range(2):
        packed = PackedTexts(lm.model, memory, texts, last).logits()
        for logits, text, count in zip(packed, texts, last, strict=True):
            whole = lm.model(torch.tensor([list(text)]), use_cache=False).logits[0, -count:]
            _assert_close(logits, whole, tolerance)


def assert_search_ignores_company(lm: LanguageModel, prompts: Sequence[str], **options: Any) -> None:
    """A search is the same alone, beside others, and with any lookahead; its numbers but for rounding."""
    settings = options.pop("settings", None) or RewindSettings()
    together = lm.rewind(list(prompts), settings=settings, **options)
    for prompt, searched in zip(prompts, together, strict=True):
        for lookahead in (1, settings.lookahead):
            alone = lm.rewind(prompt, settings=replace(settings, lookahead=lookahead), **options)
            assert _alike(alone.as_dict(), searched.as_dict()), f"{prompt!r} depends on its company or the lookahead"


def assert_greedy_equals_transformers(lm: LanguageModel, prompts: Sequence[str], tokens: int) -> None:
    """Unsteered greedy decoding, batched, writes what transformers' `generate` writes for each prompt alone."""
    ours = lm.generate(list(prompts), temperature=0, top_k=None, max_new_tokens=tokens)
    for prompt, generation in zip(prompts, ours, strict=True):
        ids = torch.tensor([lm.frozen.encode(prompt)])
        theirs = lm.frozen.model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=tokens, pad_token_id=0
        )
        assert generation.token_ids == theirs[0, ids.shape[1] :].tolist(), f"{prompt!r} was continued differently"


def assert_zero_beta_is_plain(lm: LanguageModel, reward: RewardModel, prompts: Sequence[str], **options: Any) -> None:
    """β = 0 is plain truncated sampling with the same seed."""
    _assert_same_texts(lm, prompts, reward.toward(0.0), None, **options)


def assert_halves_add_up(
    lm: LanguageModel, reward: RewardModel, beta: float, prompts: Sequence[str], **options: Any
) -> None:
    """One steer of β is two of β / 2."""
    half = reward.toward(beta / 2)
    _assert_same_texts(lm, prompts, reward.toward(beta), half + half, **options)


def assert_constant_changes_nothing(
    lm: LanguageModel, reward: Reward, beta: float, prompts: Sequence[str], **options: Any
) -> None:
    """A constant added to every unclamped reward changes nothing."""
    plain = Steer((_term(reward, beta),))
    shifted = Steer((_term(ShiftedReward(reward, 3.0), beta),))
    _assert_same_texts(lm, prompts, plain, shifted, **options)


def assert_seeded_ignores_batch(
    lm: LanguageModel, steers: Sequence[Steer | None], prompts: Sequence[str], **options: Any
) -> None:
    """A seeded generation is the same alone, in a batch, and in a batch of the reverse order."""
    together = lm.generate(list(prompts), list(steers), **options)
    reverse = lm.generate(list(prompts)[::-1], list(steers)[::-1], **options)[::-1]
    for prompt, steer, batched, reversed_ in zip(prompts, steers, together, reverse, strict=True):
        alone = lm.generate(prompt, steer, **options)
        assert alone.token_ids == batched.token_ids == reversed_.token_ids, f"{prompt!r} depends on its batch"


@final
class ShiftedReward:
    """A reward plus a constant; everything else is the wrapped reward's."""

    def __init__(self, reward: Reward, constant: float):
        self._reward, self._constant = reward, constant

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reward, name)

    def start(self, host: PrefixCache | None = None) -> RewardState:
        """A state whose rewards are shifted."""
        state = self._reward.start(host)
        return ShiftedState(state, self._constant)


@final
class ShiftedState:
    """A state whose rewards have a constant added."""

    def __init__(self, state: RewardState, constant: float):
        self._state, self._constant = state, constant
        self.prefill, self.advance = state.prefill, state.advance
        self.select, self.rollback = state.select, state.rollback

    def rewards(self, candidates: Tensor | None) -> Tensor:
        """The wrapped state's rewards plus the constant."""
        return self._state.rewards(candidates) + self._constant


def _term(reward: Reward, beta: float) -> Term:
    return Term(reward, 0, beta, clamp=None)


def _prefilled(reward: RewardModel, prompts: Sequence[Ids]) -> RewardState:
    batch = PromptBatch.pad(prompts, reward.pad_token_id, reward.base.device)
    state = reward.start()
    state.prefill(batch.ids, batch.mask)
    return state


def _assert_close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(found.float(), expected.float(), atol=tolerance, rtol=tolerance)


def _alike(found: Any, expected: Any) -> bool:
    """Whether records are equal but for the last digit of their numbers."""
    if isinstance(found, float) and isinstance(expected, float):
        return isclose(found, expected, abs_tol=1.5 * 10**-DIGITS)
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(_alike(found[key], expected[key]) for key in found)
    if isinstance(found, list | tuple) and isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(_alike, found, expected))
    return bool(found == expected)


def _assert_same_texts(
    lm: LanguageModel, prompts: Sequence[str], one: Steer | None, other: Steer | None, **options: Any
) -> None:
    left, right = (lm.generate(list(prompts), steer, **options) for steer in (one, other))
    for a, b in zip(left, right, strict=True):
        assert a.token_ids == b.token_ids, f"{a.prompt!r}: {a.text!r} is not {b.text!r}"
