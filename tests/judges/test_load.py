"""Judges by name, and judges from what users pass."""

import pytest

from tiny import tiny_reward
from trimtab.errors import InvalidSetting, TrimtabError, UnknownAttribute
from trimtab.judges import load
from trimtab.judges.draft import Draft
from trimtab.judges.load import as_judge, load_judge
from trimtab.judges.reward_judge import RewardJudge
from trimtab.judges.self_judge import SelfJudge
from trimtab.judges.text_judges import FunctionJudge

TEXTS = ["w1 w2 w3", "w9", "w4 w4 w4 w4 w5", "w1 w40"]


def test_word_lists_are_loaded_by_name():
    assert [load_judge(name).name for name in ("vader", "profanity")] == ["vader", "profanity"]


@pytest.fixture
def reward(llama, monkeypatch):
    model = tiny_reward(llama, "q", clamp=(0.0, 1.0))
    monkeypatch.setattr(load, "load_reward", lambda name: model)
    return model


@pytest.mark.parametrize(("spec", "column"), [("reward:mine:kind", 0), ("reward:mine:calm", 1)])
def test_a_reward_judges_texts_on_its_own_base(reward, spec, column):
    judge = load_judge(spec)
    assert judge.name == spec
    expected = [reward.score(text)[0, column].clamp(0, 1).item() for text in TEXTS]
    assert judge.score([Draft("not read", (), (), text) for text in TEXTS], None) == pytest.approx(expected, abs=1e-5)


def test_an_unknown_attribute_is_refused(reward):
    with pytest.raises(UnknownAttribute):
        load_judge("reward:mine:loud")


def test_one_of_several_rewards_is_named(reward):
    with pytest.raises(InvalidSetting, match="got 'mine', which has several rewards, expected mine:kind or mine:calm"):
        load_judge("reward:mine")


@pytest.mark.parametrize(
    ("spec", "message"), [("profanty", "did you mean 'profanity'"), ("no/such/folder", "expected vader, profanity")]
)
def test_unknown_names_are_refused_with_a_suggestion(spec, message):
    with pytest.raises(InvalidSetting, match=message):
        load_judge(spec)


def test_steers_functions_and_names_become_judges(llama):
    function = as_judge(lambda prompt, text: len(text.split()) / 10)
    assert isinstance(function, FunctionJudge)
    assert as_judge(function) is function
    assert isinstance(as_judge(tiny_reward(llama, "q").away(1)), RewardJudge)
    question = as_judge("self:sentiment")
    assert isinstance(question, SelfJudge)
    assert question.name == "self:sentiment"


@pytest.mark.parametrize(
    ("wrong", "message"), [(3, "got judge=3"), (None, "got judge=None"), ("me", "got the judge 'me'")]
)
def test_other_things_are_refused(wrong, message):
    with pytest.raises(InvalidSetting, match=message):
        as_judge(wrong)


def test_a_reward_without_a_direction_is_refused(llama):
    with pytest.raises(InvalidSetting, match=r"reward\.toward\(1\) or reward\.away\(1\)"):
        as_judge(tiny_reward(llama, "q"))


class Mute:
    """A value that fails to describe itself."""

    def __repr__(self):
        raise RuntimeError("no words")


DEEP: list = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize("wrong", [DEEP, Mute(), 3, None, b"self"], ids=["deep", "mute", "number", "none", "bytes"])
def test_what_is_no_judge_is_refused_whatever_it_is(wrong):
    with pytest.raises(InvalidSetting, match="got judge="):
        as_judge(wrong)


@pytest.mark.parametrize("name", ["x" * 300_000, "reward:" + "x" * 300_000, "onnx:" + "x" * 3_000])
def test_the_message_about_an_unknown_judge_is_short(name):
    with pytest.raises(TrimtabError) as caught:
        load_judge(name)
    assert len(str(caught.value)) < 700


def test_a_model_of_the_hub_is_no_slip(monkeypatch):
    loaded = []
    monkeypatch.setattr(load, "text_classification", lambda spec, *given: loaded.append(spec))
    load_judge("acme/profanity")
    assert loaded == ["acme/profanity"]
    with pytest.raises(InvalidSetting, match="did you mean"):
        load_judge("profanty")
