"""Rewards that are NaN or infinite while they steer, rank or score."""

import pytest
import torch

from tiny import tiny_reward
from trimtab import errors
from trimtab.engines.processor import SteeringProcessor
from trimtab.engines.torch.engine import TorchEngine
from trimtab.judges.draft import Draft
from trimtab.judges.reward_judge import RewardJudge
from trimtab.language_model import LanguageModel
from trimtab.rewards.finite import check_finite, finite_rows

NUMBERS = [torch.nan, torch.inf, -torch.inf]


@pytest.fixture(params=NUMBERS)
def damaged(request, llama, head):
    """Return a reward whose second attribute is not finite."""
    reward = tiny_reward(llama, head)
    final = reward.network.head.prefix_value
    final.bias.data[1] = request.param
    return reward


def test_a_row_is_finite_if_all_its_rewards_are():
    rewards = torch.zeros(3, 2, 2)
    rewards[1, 1, 0], rewards[2, 0, 1] = torch.nan, -torch.inf
    assert finite_rows(rewards).tolist() == [True, False, False]


def test_finite_rewards_are_accepted(llama):
    check_finite(tiny_reward(llama, "q"), torch.zeros(2, 2), torch.tensor([5, 6]))


@pytest.mark.parametrize("number", NUMBERS)
def test_the_error_names_reward_attribute_and_token(llama, number):
    reward, rewards = tiny_reward(llama, "q"), torch.zeros(3, 2)
    rewards[1, 1] = rewards[2, 0] = number
    with pytest.raises(errors.NonFiniteReward, match=rf"{number} of 'tiny-q' in 'calm' for the token \(id 6\), exp"):
        check_finite(reward, rewards, torch.tensor([5, 6, 7]))
    with pytest.raises(errors.NonFiniteReward, match=r"token 'w2' \(id 6\), expected a finite number; load the model"):
        check_finite(reward, rewards, torch.tensor([5, 6, 7]), llama.codec)


def test_a_text_whose_reward_is_not_finite_gets_no_score(damaged):
    for score in (damaged.score, damaged.score_prefixes):
        with pytest.raises(errors.NonFiniteReward, match="in 'calm' for the token 'w1'"):
            score("w1 w2 w3")


def test_a_broken_reward_neither_ranks_nor_judges(damaged, llama):
    lm, steer = LanguageModel(TorchEngine(llama)), damaged.toward(1.0)
    texts = [llama.codec.encode_text(text) for text in ("w1 w2", "w3")]
    ids = [[llama.bos_token_id, *text] for text in texts]
    with pytest.raises(errors.NonFiniteReward, match="in 'calm' for the token 'w2'"):
        lm.engine.rewards(damaged, ids)
    with pytest.raises(errors.NonFiniteReward, match="in 'calm'"):
        RewardJudge(steer).score([Draft("w1", tuple(ids[0][:2]), tuple(ids[0][2:]), "w2")], lm.engine)
    with pytest.raises(errors.NonFiniteReward, match="in 'calm'"):
        lm.best_of("w1 w2", 2, by=steer, max_new_tokens=2, seed=0)


def test_transformers_generate_is_stopped_by_a_broken_reward(damaged, llama):
    processor = SteeringProcessor(damaged.toward(1.0))
    ids = torch.tensor([[10, 11]])
    with pytest.raises(errors.NonFiniteReward, match="in 'calm'"):
        llama.model.generate(input_ids=ids, logits_processor=[processor], max_new_tokens=2, do_sample=False)


def test_steered_likelihoods_need_finite_rewards(damaged, llama):
    engine = TorchEngine(llama)
    with pytest.raises(errors.NonFiniteReward, match="in 'calm'"):
        engine.score([[10, 11]], [[[12, 13]]], damaged.toward(1.0), 5)


def test_a_first_token_that_the_head_cannot_score_is_no_fault(llama):
    reward = tiny_reward(llama, "q", bos_token_id=None)
    assert reward.score_prefixes("w1 w2")[0].isnan().any(1).tolist() == [True, False]
