"""The start of searches: seeds, and the room that a prompt leaves to its readers."""

import inspect

import pytest

from tiny import tiny_reward
from trimtab.errors import InvalidPrompt, InvalidSetting, WrongType
from trimtab.judges.reward_judge import RewardJudge
from trimtab.judges.text_judges import FunctionJudge
from trimtab.rewind.new_search import MAX_SEED, room_for_text, search_seeds


class ReadsThree:
    """A judge that can read three tokens of a continuation."""

    name = "three"

    def __init__(self, room):
        self._room = room

    def score(self, drafts, engine):
        return [0.5] * len(drafts)

    def room(self, codec, prompt, prompt_ids):
        assert prompt == "w1 w2"
        return self._room


def test_one_seed_serves_all_searches_and_a_list_has_one_each():
    assert search_seeds(7, 3) == [7, 7, 7]
    assert search_seeds([7, 8], 2) == [7, 8]
    drawn = search_seeds(None, 2)
    assert len(set(drawn)) == 2


@pytest.mark.parametrize("wrong", ["7", 7.5, ["7", 8], {7: 8}])
def test_seeds_of_another_type_are_refused(wrong):
    with pytest.raises(WrongType, match="seed"):
        inspect.unwrap(search_seeds)(wrong, 2)  # the type checker of the tests would refuse it first


@pytest.mark.parametrize("wrong", [[7], MAX_SEED, [0, -MAX_SEED], [1 << 20000, 0]])
def test_seeds_out_of_range_are_refused(wrong):
    with pytest.raises(InvalidSetting, match="seed"):
        search_seeds(wrong, 2)


def test_the_room_is_the_smallest_of_the_model_its_rewards_and_its_judge(llama):
    ids, codec = llama.codec.encode_prompt("w1 w2"), llama.codec
    anyone = FunctionJudge(lambda prompt, text: 0.5)
    reward = tiny_reward(llama, "q")
    assert room_for_text(codec, "w1 w2", ids, None, anyone) == codec.context_length - len(ids)
    assert room_for_text(codec, "w1 w2", ids, None, None) == codec.context_length - len(ids)
    assert room_for_text(codec, "w1 w2", ids, None, ReadsThree(3)) == 3
    expected = reward.context_length - reward.extra_tokens - len(ids)
    assert room_for_text(codec, "w1 w2", ids, reward.toward(1), anyone) == expected
    assert room_for_text(codec, "w1 w2", ids, None, RewardJudge(reward.toward(1))) == expected


def test_a_prompt_that_fills_the_context_of_its_judge_is_refused(llama):
    ids = llama.codec.encode_prompt("w1 w2")
    with pytest.raises(InvalidPrompt, match="its judge"):
        room_for_text(llama.codec, "w1 w2", ids, None, ReadsThree(0))
