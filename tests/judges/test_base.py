"""The judge protocol and what a judge may say about itself."""

import numpy as np
import pytest

from tiny import tiny_reward
from trimtab.errors import InvalidData
from trimtab.judges.base import Judge, ReadsTokens, check_scores, description_of, needs_of, threshold_of
from trimtab.judges.load import load_judge
from trimtab.judges.reward_judge import RewardJudge
from trimtab.judges.self_judge import SelfJudge
from trimtab.judges.text_judges import FunctionJudge, TextJudge


class Constant:
    """A user's judge: a name and a score, nothing else."""

    name = "constant"

    def score(self, drafts, engine):
        return [0.25] * len(drafts)


def test_an_object_with_a_name_and_a_score_is_a_judge():
    judge = Constant()
    assert isinstance(judge, Judge)
    assert threshold_of(judge) == 0.5
    assert needs_of(judge) == frozenset()
    assert not isinstance(judge, ReadsTokens)
    assert not isinstance(object(), Judge)


def test_judges_state_their_threshold_and_their_needs(llama):
    assert threshold_of(TextJudge("mine", len, threshold=0.75)) == 0.75
    assert threshold_of(load_judge("vader")) == 0.525
    assert needs_of(FunctionJudge(lambda prompt, text: 0.0)) == frozenset()
    for judge, needed in (
        (SelfJudge.from_text("self"), "score"),
        (RewardJudge(tiny_reward(llama, "q").toward(1)), "rewards"),
    ):
        assert needs_of(judge) == {needed}
        assert isinstance(judge, ReadsTokens)
        assert threshold_of(judge) == 0.5


def test_scores_are_floats_and_rounding_is_clipped():
    found = check_scores("mine", [0, 1, np.float32(0.5), -1e-7, 1 + 1e-7], 5)
    assert found == [0.0, 1.0, 0.5, 0.0, 1.0]
    assert all(type(score) is float for score in found)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan"), "high", None, 10**400, "long" * 100_000])
def test_scores_out_of_range_are_refused(wrong):
    with pytest.raises(InvalidData, match="judge 'mine', expected a number from 0"):
        check_scores("mine", [0.5, wrong], 2)


@pytest.mark.parametrize("wrong", [[], [0.5], [0.5] * 3, "ab", None, 0.5])
def test_there_must_be_one_score_for_each_text(wrong):
    with pytest.raises(InvalidData, match="judge 'mine'"):
        check_scores("mine", wrong, 2)


def test_a_judge_that_says_nothing_about_itself_is_described_by_its_name():
    assert description_of(Constant()) == {"judge": "constant"}


def test_what_a_judge_says_about_itself_is_recorded_as_text():
    class Versioned(Constant):
        def describe(self):
            return {"version": 3}

    assert description_of(Versioned()) == {"judge": "constant", "version": "3"}
