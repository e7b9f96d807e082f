"""The laws of trimtab.testing, on every head and every family of models."""

from itertools import product

import pytest
import torch

from tiny import tiny_reward
from trimtab import testing
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.engine import TorchEngine
from trimtab.errors import InvalidSetting
from trimtab.language_model import LanguageModel

PROMPT = [10, 20, 30, 40, 11, 21, 31]  # longer than the tiny Gemma's sliding window
PROMPTS = [PROMPT, [50, 51], [12, 13, 14, 15]]
TEXTS = ["w1 w2 w3 w4 w5 w6 w7", "w8", "w9 w10 w11"]
CANDIDATES = [5, 17, 29, 41, 53]
OPTIONS = {"top_k": 6, "max_new_tokens": 12, "seed": 3}


def test_a_cached_state_equals_forwards_over_the_whole_text(reward):
    testing.assert_cached_equals_recomputed(reward, PROMPT, [5, 44, 29, 6], CANDIDATES)


def test_candidates_equal_separate_forwards(reward):
    testing.assert_candidates_equal_separate(reward, PROMPTS, CANDIDATES)


def test_an_accepted_column_equals_a_fed_token(reward):
    testing.assert_accepted_column_equals_fed(reward, PROMPT, CANDIDATES)


def test_a_batch_equals_single_rows(reward):
    testing.assert_batched_equals_single(reward, PROMPTS, CANDIDATES)


def test_left_padding_changes_no_reward(reward):
    testing.assert_padding_changes_nothing(reward, PROMPT, CANDIDATES)


def test_rollback_then_replay_equals_a_fresh_state(reward):
    testing.assert_rollback_replays(reward, PROMPT, [5, 44, 29, 6, 7], [9, 8], CANDIDATES)


def test_forked_rows_do_not_see_each_other(reward):
    testing.assert_forks_are_independent(reward, PROMPTS, CANDIDATES)


def test_joined_states_equal_separate_ones(reward):
    testing.assert_joined_states_equal_separate(reward, PROMPTS[:2], PROMPTS[2:], CANDIDATES)
    testing.assert_joined_states_equal_separate(reward, PROMPTS[1:], PROMPTS[:1], CANDIDATES)


@pytest.mark.parametrize(("head", "trunk"), [*product("qv", ["frozen", "lora", "full"]), ("q", "ladder")])
def test_saving_and_loading_changes_no_bit(frozen, head, trunk, tmp_path):
    testing.assert_save_load_identical(tiny_reward(frozen, head, trunk), frozen, PROMPT, tmp_path / "reward")


@pytest.mark.parametrize("head", ["q", "v"])
def test_a_full_trunk_keeps_the_laws(llama, head):
    full = tiny_reward(llama, head, "full")
    testing.assert_cached_equals_recomputed(full, PROMPT, [5, 44, 29, 6], CANDIDATES)
    testing.assert_candidates_equal_separate(full, PROMPTS, CANDIDATES)
    testing.assert_accepted_column_equals_fed(full, PROMPT, CANDIDATES)
    testing.assert_batched_equals_single(full, PROMPTS, CANDIDATES)
    testing.assert_padding_changes_nothing(full, PROMPT, CANDIDATES)
    testing.assert_rollback_replays(full, PROMPT, [5, 44, 29, 6, 7], [9, 8], CANDIDATES)
    testing.assert_forks_are_independent(full, PROMPTS, CANDIDATES)
    testing.assert_joined_states_equal_separate(full, PROMPTS[:2], PROMPTS[2:], CANDIDATES)


def test_host_cache_rewinds(frozen):
    testing.assert_host_cache_rewinds(frozen, PROMPT, [5, 6, 7, 8, 9])


def test_greedy_equals_transformers(frozen):
    testing.assert_greedy_equals_transformers(LanguageModel(TorchEngine(frozen)), TEXTS, 12)


def test_zero_beta_is_plain(frozen, reward):
    testing.assert_zero_beta_is_plain(LanguageModel(TorchEngine(frozen)), reward, TEXTS, **OPTIONS)


def test_halves_add_up(frozen, reward):
    testing.assert_halves_add_up(LanguageModel(TorchEngine(frozen)), reward, 3.0, TEXTS, **OPTIONS)


def test_constant_changes_nothing(frozen, reward):
    testing.assert_constant_changes_nothing(LanguageModel(TorchEngine(frozen)), reward, 2.0, TEXTS, **OPTIONS)


def test_a_budget_is_kept(frozen, reward):
    steer = reward.toward(8.0) + reward.away(3.0, "calm")
    testing.assert_budget_is_kept(LanguageModel(TorchEngine(frozen)), steer, 0.2, TEXTS, **OPTIONS)


def test_rows_with_and_without_a_budget_ignore_their_batch(frozen, reward):
    """Each row has a budget of its own, or none, and the text that it has alone."""
    lm, steer = LanguageModel(TorchEngine(frozen)), reward.toward(8.0)
    params = [SamplingParams(**OPTIONS, max_kl=max_kl) for max_kl in (0.05, None, 0.4)]
    together = lm.generate(TEXTS, steer, params)
    for prompt, of_row, batched in zip(TEXTS, params, together, strict=True):
        alone = lm.generate(prompt, steer, of_row)
        assert alone.token_ids == batched.token_ids
        for found, expected in zip(batched.trace, alone.trace, strict=True):
            assert found.choice.scale == pytest.approx(expected.choice.scale, abs=1e-3)
            assert found.choice.kl == pytest.approx(expected.choice.kl, abs=1e-4)
    scales = [{token.choice.scale for token in each.trace} for each in together]
    assert scales[1] == {1.0} != scales[0]


def test_seeded_ignores_batch(frozen, reward):
    steers = [reward.toward(3.0), None, reward.away(2.0, "calm") + reward.toward(1.0)]
    testing.assert_seeded_ignores_batch(LanguageModel(TorchEngine(frozen)), steers, TEXTS, **OPTIONS)


def test_a_law_can_fail(reward, monkeypatch):
    """A state that forgets its last token breaks the law."""
    state = type(reward.start())
    monkeypatch.setattr(state, "advance", lambda self, tokens, choice=None: None)
    with pytest.raises(AssertionError):
        testing.assert_cached_equals_recomputed(reward, PROMPT, [5], CANDIDATES)


def test_texts_in_which_no_place_has_a_reward_do_not_satisfy_the_law(llama):
    reward = tiny_reward(llama, "q", bos_token_id=None)
    with pytest.raises(AssertionError, match="no place to compare"):
        testing.assert_candidates_equal_separate(reward, [[10], [11]], CANDIDATES)
    testing.assert_candidates_equal_separate(reward, [[10], [11, 12]], CANDIDATES)


def test_a_rollback_past_the_shortest_prompt_is_refused(reward):
    state = reward.start()
    state.prefill(torch.tensor([[10, 11, 12, 13], [0, 0, 0, 14]]), torch.tensor([[True] * 4, [False] * 3 + [True]]))
    state.rollback(reward.extra_tokens)  # BOS is taken back, if there is one
    with pytest.raises(InvalidSetting, match="shortest"):
        state.rollback(1)
