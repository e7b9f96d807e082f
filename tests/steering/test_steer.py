import pytest

import trimtab
from tiny import tiny_reward
from trimtab.engines.torch.engine import TorchEngine
from trimtab.errors import InvalidSetting, WrongType
from trimtab.language_model import LanguageModel
from trimtab.steering.steer import Steer, Term, distinct_rewards
from trimtab.testing import WordCodec, WordReward

WORDS = WordCodec(["a"])


def reward():
    return WordReward(WORDS, {"a": 1.0})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": float("nan")}, "got beta=nan, expected a finite number"),
        ({"beta": float("inf")}, "got beta=inf"),
        ({"beta": 1e30}, r"got beta=1e\+30"),
        ({"beta": 1.0, "clamp": (1.0, 0.0)}, r"got clamp=\(1.0, 0.0\), expected \(low, high\)"),
        ({"beta": 1.0, "clamp": (0.0, float("inf"))}, "got clamp=.*both finite"),
        ({"beta": 1.0, "min_entropy": -1.0}, "got min_entropy=-1.0, expected a finite number of nats"),
        ({"beta": 1.0, "min_entropy": float("nan")}, "got min_entropy=nan"),
    ],
)
def test_a_term_out_of_range_is_refused(settings, message):
    with pytest.raises(InvalidSetting, match=message):
        Term(reward(), 0, **settings)


def test_steers_add_up_in_order():
    one, other = reward().toward(1.0), reward().toward(2.0)
    assert (one + other).terms == one.terms + other.terms


def test_the_rewards_of_steers_are_listed_once_in_order():
    first, second = reward(), reward()
    steers = [None, second.toward(1.0), first.toward(1.0) + second.toward(2.0)]
    assert [id(each) for each in distinct_rewards(steers)] == [id(second), id(first)]
    assert distinct_rewards([None, Steer(())]) == []


def test_the_representation_is_the_notation_of_the_command_line(llama):
    arm = tiny_reward(llama, "q")
    assert repr(arm.toward(2.5) + arm.away(30, "calm")) == "tiny-q:kind=+2.5 + tiny-q:calm=-30"


@pytest.mark.parametrize("attribute", [-1, 2, 10**400])
def test_a_column_that_the_reward_does_not_have_is_refused(llama, attribute):
    reward = tiny_reward(llama, "q")
    with pytest.raises(InvalidSetting, match="expected 0 to 1: the column"):
        Term(reward, attribute, 1.0)


def test_steers_can_be_summed(llama):
    one, two = tiny_reward(llama, "q").toward(1.0), tiny_reward(llama, "v").away(2.0)
    assert sum([one, two]).terms == (one + two).terms
    with pytest.raises(WrongType, match="expected two steers"):
        3 + one


@pytest.mark.parametrize(
    "steer",
    [
        lambda one, same: one.toward(2.0) + one.away(2.0),
        lambda one, same: one.toward(2.0) + one.toward(-2.0),
        lambda one, same: one.toward(2.0, "calm") + one.away(1.0, "calm") + one.away(1.0, "calm") + one.away(3.0),
        lambda one, same: one.toward(20.0) + one.away(20.0 - 1e-9),
        lambda one, same: one.toward(2.0) + same.away(2.0),
    ],
)
def test_steers_that_cancel_each_other_are_refused(llama, steer):
    """Also where the same weights were loaded twice."""
    summed = steer(tiny_reward(llama, "q"), tiny_reward(llama, "q"))
    with pytest.raises(InvalidSetting, match="which cancel each other"):
        summed.check_acts()


@pytest.mark.parametrize(
    "steer",
    [
        lambda one, other: one.toward(2.0) + one.away(2.0, "calm"),
        lambda one, other: one.toward(2.0) + one.away(2.0, clamp=(0.0, 0.5)),
        lambda one, other: one.toward(2.0) + other.away(2.0),
        lambda one, other: one.toward(0.0),
    ],
)
def test_steers_that_differ_and_a_strength_of_0_are_none_that_cancel(llama, steer):
    steer(tiny_reward(llama, "q"), tiny_reward(llama, "q", seed=5)).check_acts()


@pytest.mark.parametrize(("beta", "clamp"), [(1e-320, (0.0, 1.0)), (-1e-7, (0.0, 1.0)), (1.0, (0.5, 0.5 + 1e-12))])
def test_a_strength_that_is_rounded_away_is_refused(llama, beta, clamp):
    with pytest.raises(InvalidSetting, match="it is rounded away"):
        tiny_reward(llama, "q").toward(beta, clamp=clamp)


def test_calls_refuse_what_cannot_steer(llama):
    lm, reward = LanguageModel(TorchEngine(llama)), tiny_reward(llama, "q")
    nothing, one = reward.toward(2.0) + reward.away(2.0), reward.toward(2.0)
    for call in (
        lambda: lm.generate("w1", steer=nothing),
        lambda: lm.generate("w1", steer=Steer(())),
        lambda: lm.generate("w1", steer=reward.toward(2.0, min_entropy=5.0)),
        lambda: lm.generate("w1", steer=one, top_k=1),
        lambda: lm.generate("w1", steer=one, top_k=0, top_p=1e-9),
        lambda: next(iter(lm.stream("w1", steer=nothing))),
        lambda: lm.best_of("w1", 2, by=nothing),
        lambda: lm.best_of("w1", 2, by=reward.toward(0)),
        lambda: lm.rewind("w1", judge=nothing),
        lambda: lm.rewind("w1", judge=one, steer=nothing),
        lambda: trimtab.custom_generate(nothing),
        lambda: trimtab.SteeringProcessor(nothing),
    ):
        with pytest.raises(InvalidSetting):
            call()
