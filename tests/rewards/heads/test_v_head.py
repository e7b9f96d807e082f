"""RAD's head and its per-request state."""

import pytest
import torch

from tiny import VOCABULARY, tiny_reward
from trimtab import errors, testing
from trimtab.rewards.heads import v_head

PROMPT = [10, 20, 30, 40, 11, 21, 31]


@pytest.mark.parametrize("block", [64, 7])  # all places in one forward, or one place after the other
def test_candidates_scored_in_blocks_equal_separate_forwards(frozen, block, monkeypatch):
    monkeypatch.setattr(v_head, "MAX_BLOCK_TOKENS", block)
    testing.assert_candidates_equal_separate(
        tiny_reward(frozen, "v"), [PROMPT, [50, 51], [12, 13, 14, 15]], [5, 17, 29, 41, 53]
    )


def test_the_whole_vocabulary_is_refused(llama):
    reward = tiny_reward(llama, "v")
    state = reward.start()
    state.prefill(torch.tensor([PROMPT]), torch.ones(1, len(PROMPT), dtype=torch.bool))
    with pytest.raises(errors.InvalidSetting, match="finite top_k"):
        state.rewards(None)
    for k in (None, 1025):
        with pytest.raises(errors.InvalidSetting, match="1 to 1024"):
            reward.check_candidates(k)
    reward.check_candidates(1024)


@torch.inference_mode()
def test_a_token_outside_the_candidates_is_fed_to_the_model(llama):
    reward = tiny_reward(llama, "v")
    state = reward.start()
    state.prefill(torch.tensor([PROMPT]), torch.ones(1, len(PROMPT), dtype=torch.bool))
    state.rewards(torch.tensor([[5, 6]]))
    state.advance(torch.tensor([44]))
    expected = testing.separate_rewards(reward, [*PROMPT, 44], [5])
    assert torch.allclose(state.rewards(torch.tensor([[5]]))[0], expected, atol=testing.TOLERANCE)


@torch.inference_mode()
def test_candidates_scored_before_a_join_are_forgotten(llama):
    reward = tiny_reward(llama, "v")
    state, other = reward.start(), reward.start()
    for each, prompt in ((state, PROMPT), (other, [50, 51])):
        each.prefill(torch.tensor([prompt]), torch.ones(1, len(prompt), dtype=torch.bool))
        each.rewards(torch.tensor([[5, 6]]))
    state.join(other)
    state.advance(torch.tensor([6, 5]))
    scored = state.rewards(torch.tensor([[9], [9]]))
    for row, prefix in enumerate(([*PROMPT, 6], [50, 51, 5])):
        expected = testing.separate_rewards(reward, prefix, [9])
        assert torch.allclose(scored[row], expected, atol=testing.TOLERANCE)


@torch.inference_mode()
def test_an_id_past_the_vocabulary_counts_as_the_last_id(llama):
    state = tiny_reward(llama, "v").start()
    state.prefill(torch.tensor([PROMPT]), torch.ones(1, len(PROMPT), dtype=torch.bool))
    scored = state.rewards(torch.tensor([[VOCABULARY - 1, VOCABULARY + 9]]))[0]
    assert torch.allclose(scored[0], scored[1], atol=1e-5)
