"""Laws of rewards: every head on every trunk keeps them."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from jaxtyping import Float
from torch import Tensor

from trimtab.models.frozen_lm import FrozenLM, PromptBatch
from trimtab.models.kv_cache import KVCache
from trimtab.rewards.any_reward import AnyReward
from trimtab.rewards.candidate_scores import score_candidates
from trimtab.rewards.experts import Experts
from trimtab.rewards.retokenized import RetokenizedReward
from trimtab.rewards.reward_model import RewardModel
from trimtab.steering.reward import RewardState
from trimtab.testing.model_laws import TOLERANCE, Ids, assert_close

Law = TypeVar("Law", bound=Callable[..., None])
HALF_A_CHARACTER = "\ufffd"  # as tokenizers decode bytes that are not complete


def on_its_device(law: Law) -> Law:
    """A law of a reward, its first argument; the tensors that it makes are on the reward's device."""

    @wraps(law)
    def on_device(reward: AnyReward, *args: Any, **named: Any) -> None:
        device = reward.base.device
        with nullcontext() if device.type == "cpu" else device:  # torch looks at every call in such a context
            law(reward, *args, **named)

    return cast(Law, on_device)


def separate_rewards(reward: AnyReward, prefix: Ids, candidates: Ids) -> Float[Tensor, "k attributes"]:
    """The rewards of candidates by k separate forward calls over the whole text: no cache, no batch, no padding."""
    if isinstance(reward, Experts):
        return _separate_log_ratios(reward, prefix, candidates)
    network = reward.original if isinstance(reward, RetokenizedReward) else reward
    texts = [_read(reward, [*prefix, candidate]) for candidate in candidates]
    return torch.cat([network.score_ids([text]).values[:, -1] for text in texts])


def _separate_log_ratios(experts: Experts, prefix: Ids, candidates: Ids) -> Float[Tensor, "k 1"]:
    """Σ ± log softmax of each expert's own forward over the prefix, in float64."""
    total = torch.zeros(len(candidates), 1, dtype=torch.float64)
    for sign, part in experts.parts:
        if isinstance(part, RewardModel):
            found = separate_rewards(part, prefix, candidates).double()
        else:
            logits = part.model(input_ids=torch.tensor([list(prefix)], device=part.device)).logits[0, -1].double()
            found = logits.log_softmax(-1)[torch.tensor(candidates).clamp_max(len(logits) - 1)][:, None]
        total += sign * found.cpu()
    return total.to(experts.base.device, torch.float32)


def _read(reward: AnyReward, ids: Ids) -> Ids:
    """What a reward reads of the language model's tokens: these, or the text of them in its own."""
    if not isinstance(reward, RetokenizedReward):
        return ids
    text = reward.lm.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    while text.endswith(HALF_A_CHARACTER):
        text = text[: -len(HALF_A_CHARACTER)]
    if not text:
        assert reward.base.bos_token_id is not None, "its tokenizer has a token that opens a text"
        return [reward.base.bos_token_id]
    read: list[int] = reward.base.tokenizer(text, add_special_tokens=False)["input_ids"]
    return read


@on_its_device
@torch.inference_mode()
def assert_cached_equals_recomputed(
    reward: AnyReward, prompt: Ids, continuation: Ids, candidates: Ids, tolerance: float = TOLERANCE
) -> None:
    """A state that advanced token by token scores like forward calls over the whole texts, up to the last token."""
    state = _prefilled(reward, [prompt])
    for place in range(len(continuation) + 1):
        scored = state.rewards(torch.tensor([candidates]))[0]
        assert_close(scored, separate_rewards(reward, [*prompt, *continuation[:place]], candidates), tolerance)
        if place < len(continuation):
            state.advance(torch.tensor([continuation[place]]))


@on_its_device
@torch.inference_mode()
def assert_candidates_equal_separate(
    reward: RewardModel, texts: Sequence[Ids], candidates: Ids, tolerance: float = TOLERANCE
) -> None:
    """Scoring candidates at every place of a padded batch equals scoring each with a forward call of its own.

    Without BOS, the first token of a text has no reward: at least one text must have more.
    """
    first = 0 if reward.extra_tokens else 1
    assert any(len(text) > first for text in texts), f"got no place to compare, expected more than {first} tokens"
    batch = PromptBatch.pad(texts, reward.base.pad_token_id, reward.base.device)
    asked = torch.tensor(candidates).expand(*batch.ids.shape, len(candidates))
    scored = score_candidates(reward.network, batch.ids, batch.mask, asked)
    for row, text in enumerate(texts):
        for place in range(first, len(text)):
            expected = separate_rewards(reward, text[:place], candidates)
            assert_close(scored[row, place - len(text)], expected, tolerance)


@on_its_device
@torch.inference_mode()
def assert_accepted_column_equals_fed(
    reward: AnyReward, prompt: Ids, candidates: Ids, tolerance: float = TOLERANCE
) -> None:
    """Advancing by a scored candidate, whose cache column is accepted, equals advancing by its token."""
    for column, token in enumerate(candidates):
        state = _prefilled(reward, [prompt])
        state.rewards(torch.tensor([candidates]))
        state.advance(torch.tensor([token]), torch.tensor([column]))
        expected = separate_rewards(reward, [*prompt, token], candidates)
        assert_close(state.rewards(torch.tensor([candidates]))[0], expected, tolerance)


@on_its_device
@torch.inference_mode()
def assert_batched_equals_single(
    reward: AnyReward, prompts: Sequence[Ids], candidates: Ids, tolerance: float = TOLERANCE
) -> None:
    """A left-padded batch of prompts scores each as if it were alone, also after a step."""
    state = _prefilled(reward, prompts)
    rows = torch.tensor([list(candidates)] * len(prompts))
    for taken in range(2):
        scored = state.rewards(rows)
        for row, prompt in enumerate(prompts):
            expected = separate_rewards(reward, [*prompt, *candidates[:taken]], candidates)
            assert_close(scored[row], expected, tolerance)
        state.advance(rows[:, taken])


@on_its_device
@torch.inference_mode()
def assert_padding_changes_nothing(
    reward: AnyReward, prompt: Ids, candidates: Ids, padding: int = 3, tolerance: float = TOLERANCE
) -> None:
    """Left padding with any token changes no reward."""
    for filler in (0, reward.pad_token_id, prompt[0]):
        ids = torch.tensor([[filler] * padding + list(prompt)])
        mask = torch.tensor([[False] * padding + [True] * len(prompt)])
        state = reward.start()
        state.prefill(ids, mask)
        scored = state.rewards(torch.tensor([candidates]))[0]
        assert_close(scored, separate_rewards(reward, prompt, candidates), tolerance)


@on_its_device
@torch.inference_mode()
def assert_candidates_equal_vocabulary(
    reward: AnyReward, prompt: Ids, candidates: Ids, tolerance: float = TOLERANCE
) -> None:
    """Scoring candidates equals gathering them from the scored vocabulary (heads that score it)."""
    state = _prefilled(reward, [prompt])
    everything = state.rewards(None)[0]
    assert_close(state.rewards(torch.tensor([candidates]))[0], everything[list(candidates)], tolerance)


@on_its_device
@torch.inference_mode()
def assert_rollback_replays(
    reward: AnyReward, prompt: Ids, detour: Ids, path: Ids, candidates: Ids, tolerance: float = TOLERANCE
) -> None:
    """A state that rolled back a detour equals a state that never took it."""
    state = _prefilled(reward, [prompt])
    for token in detour:
        state.rewards(torch.tensor([candidates]))
        state.advance(torch.tensor([token]))
    state.rewards(torch.tensor([candidates]))
    state.rollback(len(detour))
    scored = state.rewards(torch.tensor([candidates]))[0]
    assert_close(scored, separate_rewards(reward, prompt, candidates), tolerance)
    for token in path:
        state.advance(torch.tensor([token]))
    scored = state.rewards(torch.tensor([candidates]))[0]
    assert_close(scored, separate_rewards(reward, [*prompt, *path], candidates), tolerance)


@on_its_device
@torch.inference_mode()
def assert_forks_are_independent(
    reward: AnyReward, prompts: Sequence[Ids], candidates: Ids, tolerance: float = TOLERANCE
) -> None:
    """Rows that `select` forked, re-ordered or dropped do not see each other."""
    state = _prefilled(reward, prompts)
    chosen = [len(prompts) - 1, 0, 0]
    state.select(torch.tensor(chosen))
    tokens = list(candidates)[: len(chosen)]
    state.advance(torch.tensor(tokens))
    scored = state.rewards(torch.tensor([list(candidates)] * len(chosen)))
    for row, (prompt, token) in enumerate(zip(chosen, tokens, strict=True)):
        assert_close(scored[row], separate_rewards(reward, [*prompts[prompt], token], candidates), tolerance)


def assert_save_load_identical(reward: RewardModel, lm: FrozenLM, text: Ids, folder: Path) -> None:
    """A reward that is saved and loaded gives bit-identical scores and has the same card."""
    reward.save_pretrained(folder)
    loaded = RewardModel.from_folder(folder, load_base=lambda name: lm, lm=lm)
    assert loaded.card == reward.card, f"the card changed: {loaded.card}"
    before, after = reward.score_ids([text]).values, loaded.score_ids([text]).values
    assert torch.equal(before, after), f"scores changed by {(before - after).abs().max():.3g}"


@on_its_device
@torch.inference_mode()
def assert_joined_states_equal_separate(
    reward: AnyReward, first: Sequence[Ids], second: Sequence[Ids], candidates: Ids, tolerance: float = TOLERANCE
) -> None:
    """States of different lengths that are joined midway score each row as if it were alone, also after a step."""
    state, other = _prefilled(reward, first), _prefilled(reward, second)
    for each, rows in ((state, first), (other, second)):
        each.rewards(torch.tensor([list(candidates)] * len(rows)))
        each.advance(torch.tensor([candidates[0]] * len(rows)))
    state.join(other)
    texts = [[*prompt, candidates[0]] for prompt in (*first, *second)]
    for _ in range(2):
        scored = state.rewards(torch.tensor([list(candidates)] * len(texts)))
        for row, text in zip(scored, texts, strict=True):
            assert_close(row, separate_rewards(reward, text, candidates), tolerance)
        state.advance(torch.tensor([candidates[1]] * len(texts)))
        texts = [[*text, candidates[1]] for text in texts]


@on_its_device
@torch.inference_mode()
def assert_hosted_equals_separate(
    reward: RewardModel, prompts: Sequence[Ids], continuation: Ids, candidates: Ids, tolerance: float = TOLERANCE
) -> None:
    """A reward that reads the steered model's hidden states scores like forward calls of its own over whole texts.

    The prompts are one padded batch. The last row is then dropped, and the last token taken back.
    """
    model = reward.base.model
    reader = reward.reads(model)
    assert reader is not None, f"{reward.name!r} runs a trunk of its own"
    host = KVCache(model, [reader])
    batch = reward.base.batch(prompts)
    host.feed(batch.ids, batch.mask)
    state = reward.start(host)
    state.prefill(batch.ids, batch.mask)
    texts = [list(prompt) for prompt in prompts]

    def assert_scores() -> None:
        scored = state.rewards(torch.tensor([list(candidates)] * len(texts)))
        for row, text in zip(scored, texts, strict=True):
            assert_close(row, separate_rewards(reward, text, candidates), tolerance)

    assert_scores()
    for token in continuation:
        tokens = torch.tensor([token] * len(texts))
        state.advance(tokens)
        host.feed(tokens[:, None])
        texts = [[*text, token] for text in texts]
    assert_scores()
    kept = torch.arange(len(texts) - 1)
    for holder in (host, state):
        holder.select(kept)
        holder.rollback(1)
    texts = [text[:-1] for text in texts[:-1]]
    assert_scores()


def _prefilled(reward: AnyReward, prompts: Sequence[Ids]) -> RewardState:
    batch = PromptBatch.pad(prompts, reward.pad_token_id, reward.base.device)
    state = reward.start()
    state.prefill(batch.ids, batch.mask)
    return state
