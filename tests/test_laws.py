"""The laws of trimtab.testing, on every head and trunk."""

import pytest
import torch

from tiny import tiny_reward
from trimtab import testing
from trimtab.errors import InvalidSetting
from trimtab.lm import LanguageModel
from trimtab.rewards import alternatives

PROMPT = [10, 20, 30, 40, 11, 21, 31]  # longer than the tiny Gemma's sliding window
PROMPTS = [PROMPT, [50, 51], [12, 13, 14, 15]]
TEXTS = ["w1 w2 w3 w4 w5 w6 w7", "w8", "w9 w10 w11"]
CANDIDATES = [5, 17, 29, 41, 53]
OPTIONS = {"top_k": 6, "max_new_tokens": 12, "seed": 3}


def test_cached_equals_recomputed(reward):
    testing.assert_cached_equals_recomputed(reward, PROMPT, [5, 44, 29, 6], CANDIDATES)


@pytest.mark.parametrize("block", [64, 7])  # tokens of a block: all places at once, or one place after the other
def test_alternatives_equal_separate(reward, block, monkeypatch):
    monkeypatch.setattr(alternatives, "MAX_BLOCK_TOKENS", block)
    testing.assert_alternatives_equal_separate(reward, PROMPTS, CANDIDATES)


def test_alternatives_of_a_sigmoid_head_without_bos(frozen, head):
    reward = tiny_reward(frozen, head, link="sigmoid", bos_token_id=None)
    testing.assert_alternatives_equal_separate(reward, PROMPTS, CANDIDATES)
    testing.assert_cached_equals_recomputed(reward, PROMPT, [5, 44, 29, 6], CANDIDATES)
    scores = reward.score(TEXTS[::2])
    assert ((scores > 0) & (scores < 1)).all()


def test_kept_column_equals_fed(reward):
    testing.assert_kept_column_equals_fed(reward, PROMPT, CANDIDATES)


def test_batched_equals_single(reward):
    testing.assert_batched_equals_single(reward, PROMPTS, CANDIDATES)


def test_padding_changes_nothing(reward):
    testing.assert_padding_changes_nothing(reward, PROMPT, CANDIDATES)


def test_candidates_equal_vocabulary(frozen):
    testing.assert_candidates_equal_vocabulary(tiny_reward(frozen, "q"), PROMPT, CANDIDATES)


def test_rollback_replays(reward):
    testing.assert_rollback_replays(reward, PROMPT, [5, 44, 29, 6, 7], [9, 8], CANDIDATES)


def test_forks_are_independent(reward):
    testing.assert_forks_are_independent(reward, PROMPTS, CANDIDATES)


@pytest.mark.parametrize("trunk", ["frozen", "lora", "full"])
def test_save_load_identical(frozen, head, trunk, tmp_path):
    testing.assert_save_load_identical(tiny_reward(frozen, head, trunk), frozen, PROMPT, tmp_path / "reward")


def test_merged_adapters_change_no_score(frozen, head, tmp_path):
    """And the merged reward, saved and loaded again, is itself bit for bit; the base keeps its weights."""
    before = {name: weight.clone() for name, weight in frozen.model.state_dict().items()}
    reward = tiny_reward(frozen, head)
    merged = reward.merged()
    assert not any("lora" in name for name in merged.network.state_dict())
    assert merged.merged() is merged
    for found, expected in zip(merged.score_prefixes(TEXTS), reward.score_prefixes(TEXTS), strict=True):
        assert torch.allclose(found, expected, atol=testing.TOLERANCE)
    testing.assert_cached_equals_recomputed(merged, PROMPT, [5, 44, 29, 6], CANDIDATES)
    testing.assert_save_load_identical(merged, frozen, PROMPT, tmp_path / "merged")
    assert all(torch.equal(weight, before[name]) for name, weight in frozen.model.state_dict().items())


def test_host_cache_rewinds(frozen):
    testing.assert_host_cache_rewinds(frozen, PROMPT, [5, 6, 7, 8, 9])


def test_greedy_equals_transformers(frozen):
    testing.assert_greedy_equals_transformers(LanguageModel(frozen), TEXTS, 12)


def test_zero_beta_is_plain(frozen, reward):
    testing.assert_zero_beta_is_plain(LanguageModel(frozen), reward, TEXTS, **OPTIONS)


def test_halves_add_up(frozen, reward):
    testing.assert_halves_add_up(LanguageModel(frozen), reward, 3.0, TEXTS, **OPTIONS)


def test_constant_changes_nothing(frozen, reward):
    testing.assert_constant_changes_nothing(LanguageModel(frozen), reward, 2.0, TEXTS, **OPTIONS)


def test_seeded_ignores_batch(frozen, reward):
    steers = [reward.toward(3.0), None, reward.away(2.0, "calm") + reward.toward(1.0)]
    testing.assert_seeded_ignores_batch(LanguageModel(frozen), steers, TEXTS, **OPTIONS)


def test_a_law_can_fail(reward, monkeypatch):
    """The comparison is real: a state that forgets its last token is caught."""
    state = type(reward.start())
    monkeypatch.setattr(state, "advance", lambda self, tokens, choice=None: None)
    with pytest.raises(AssertionError):
        testing.assert_cached_equals_recomputed(reward, PROMPT, [5, 44, 29], CANDIDATES)


def test_a_rollback_past_the_shortest_prompt_is_refused(reward):
    state = reward.start()
    state.prefill(torch.tensor([[10, 11, 12, 13], [0, 0, 0, 14]]), torch.tensor([[True] * 4, [False] * 3 + [True]]))
    state.rollback(1)  # BOS is left
    with pytest.raises(InvalidSetting, match="shortest"):
        state.rollback(1)
