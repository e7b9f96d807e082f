"""Laws of engines: of decoding, steering and search. They hold in float32, or with a batch-invariant engine."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import exp, fsum, inf, isclose, log
from typing import Any, final

import torch
from torch import Tensor

from trimtab.engines.base import Choice, Chunk, Request, collect
from trimtab.engines.torch.engine import TorchEngine
from trimtab.engines.torch.running_batch import RunningBatch
from trimtab.language_model import LanguageModel
from trimtab.models.kv_cache import KVCache
from trimtab.rewards.any_reward import AnyReward
from trimtab.rewind.record import DIGITS
from trimtab.rewind.rewind_settings import RewindSettings
from trimtab.steering.reward import Reward, RewardState
from trimtab.steering.steer import Steer, Term

BUDGET_TOLERANCE, ROUNDING = 1e-3, 1e-5  # of float32 log-probabilities, relative and in nats


def assert_search_ignores_company(lm: LanguageModel, prompts: Sequence[str], **options: Any) -> None:
    """A search is the same alone, beside others, and with any lookahead; its figures agree up to rounding.

    In float32; in bfloat16 with `TorchEngine(base, batch_invariant=True)` only.
    """
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
        ids = torch.tensor([lm.engine.codec.encode_prompt(prompt)], device=lm.model.device)
        theirs = lm.model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=tokens, pad_token_id=0
        )
        assert generation.token_ids == theirs[0, ids.shape[1] :].tolist(), f"{prompt!r} was continued differently"


def assert_zero_beta_is_plain(lm: LanguageModel, reward: AnyReward, prompts: Sequence[str], **options: Any) -> None:
    """β = 0 is plain truncated sampling with the same seed."""
    _assert_same_texts(lm, prompts, reward.toward(0.0), None, **options)


def assert_halves_add_up(
    lm: LanguageModel, reward: AnyReward, beta: float, prompts: Sequence[str], **options: Any
) -> None:
    """One steer of β is two of β / 2."""
    half = reward.toward(beta / 2)
    _assert_same_texts(lm, prompts, reward.toward(beta), half + half, **options)


def assert_budget_is_kept(
    lm: LanguageModel, steer: Steer, max_kl: float, prompts: Sequence[str], **options: Any
) -> None:
    """KL(steered ‖ base) over the candidates never exceeds `max_kl`, and reaches it where the steer is scaled down.

    A budget of 0 is plain sampling, and a budget that nothing exceeds changes nothing. With at most 1,024 candidates:
    the trace of a token has no more.
    """
    for generation in lm.generate(list(prompts), steer, max_kl=max_kl, **options):
        for token in generation.trace:
            spent, scale = _spent(token.choice), token.choice.scale
            assert spent <= max_kl * (1 + BUDGET_TOLERANCE) + ROUNDING, f"{token!r} spends {spent} of {max_kl} nats"
            assert isclose(token.choice.kl, spent, rel_tol=BUDGET_TOLERANCE, abs_tol=ROUNDING), "the trace has another"
            whole = scale == 1 or isclose(spent, max_kl, rel_tol=BUDGET_TOLERANCE, abs_tol=ROUNDING)
            assert 0 <= scale <= 1, f"{token!r} is scaled by {scale}"
            assert whole, f"{token!r} is scaled by {scale}, but spends {spent} of {max_kl} nats"
    for budget, other in ((0.0, None), (1e9, steer)):
        limited = lm.generate(list(prompts), steer, max_kl=budget, **options)
        for found, expected in zip(limited, lm.generate(list(prompts), other, **options), strict=True):
            assert found.token_ids == expected.token_ids, f"{found.prompt!r} changes with a budget of {budget}"


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
    """A seeded generation is the same alone, in a batch, and in a batch of the reverse order.

    In float32; in bfloat16 with `TorchEngine(base, batch_invariant=True)` only.
    """
    together = lm.generate(list(prompts), list(steers), **options)
    reverse = lm.generate(list(prompts)[::-1], list(steers)[::-1], **options)[::-1]
    for prompt, steer, batched, reversed_ in zip(prompts, steers, together, reverse, strict=True):
        alone = lm.generate(prompt, steer, **options)
        assert alone.token_ids == batched.token_ids == reversed_.token_ids, f"{prompt!r} depends on its batch"


def assert_stream_equals_sample(lm: LanguageModel, requests: Sequence[Request]) -> None:
    """The chunks of a stream, joined, are the continuations of `sample`, each request sampled alone."""
    streamed = collect(requests, lm.engine.stream(requests))
    sampled = [lm.engine.sample([request])[0] for request in requests]
    for of_stream, of_sample in zip(streamed, sampled, strict=True):
        for found, expected in zip(of_stream, of_sample, strict=True):
            assert found.token_ids == expected.token_ids, "a stream writes another text"
            assert found.finish_reason == expected.finish_reason, "a stream ends for another reason"


def assert_joining_changes_nothing(engine: TorchEngine, requests: Sequence[Request], steps_before: int) -> None:
    """A text is the same alone and in a batch that it joins while the others are being written.

    In float32; in bfloat16 with `TorchEngine(base, batch_invariant=True)` only.
    """
    batch = RunningBatch(engine.base, batch_invariant=engine.batch_invariant)
    chunks: list[list[Chunk]] = []
    for request in requests:
        batch.add([request], engine.limits([request]))
        chunks += [batch.step() for _ in range(steps_before) if batch.active]
    while batch.active:
        chunks.append(batch.step())
    for request, found in zip(requests, collect(requests, chunks), strict=True):
        (alone,) = engine.sample([request])
        assert [each.token_ids for each in found] == [each.token_ids for each in alone], "a row that joins changes"
        assert [each.finish_reason for each in found] == [each.finish_reason for each in alone]


def assert_threads_change_nothing(
    lm: LanguageModel, prompts: Sequence[str], steers: Sequence[Steer | None], **options: Any
) -> None:
    """Texts that threads write at the same time are those that each thread writes alone. Threads take turns.

    With a prefix cache: in float32, because cached prefixes were encoded in batches of other shapes.
    """
    pairs = list(zip(prompts, steers, strict=True))
    alone = [lm.generate(prompt, steer, **options).token_ids for prompt, steer in pairs]
    with ThreadPoolExecutor(len(pairs)) as threads:
        together = list(threads.map(lambda pair: lm.generate(*pair, **options), pairs))
    assert [each.token_ids for each in together] == alone, "a thread changes the text of another"


@final
class ShiftedReward:
    """A reward plus a constant; the rest is the wrapped reward's."""

    def __init__(self, reward: Reward, constant: float):
        self._reward, self._constant = reward, constant

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reward, name)

    def start(self, host: KVCache | None = None) -> RewardState:
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

    def join(self, other: RewardState) -> None:
        """Append the rows of another shifted state."""
        assert isinstance(other, ShiftedState)
        self._state.join(other._state)

    def rewards(self, candidates: Tensor | None) -> Tensor:
        """The wrapped state's rewards plus the constant."""
        return self._state.rewards(candidates) + self._constant


def _spent(choice: Choice) -> float:
    """KL(steered ‖ base) over the candidates, in plain floats."""
    base = choice.base_logprobs.tolist()
    log_mass = log(fsum(map(exp, base)))
    pairs = zip(choice.steered_logprobs.tolist(), base, strict=True)
    return fsum(exp(steered) * (steered - (plain - log_mass)) for steered, plain in pairs if steered > -inf)


def _term(reward: Reward, beta: float) -> Term:
    return Term(reward, 0, beta, clamp=None)


def _alike(found: Any, expected: Any) -> bool:
    """Whether records are equal, up to the last digit of their figures."""
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
