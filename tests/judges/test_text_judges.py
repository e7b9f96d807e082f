"""Classifiers and Python functions as judges."""

import inspect
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import Pipeline

from trimtab.errors import InvalidData, InvalidSetting, WrongType
from trimtab.judges.base import description_of
from trimtab.judges.draft import Draft
from trimtab.judges.text_judges import FunctionJudge, TextJudge

DRAFTS = [Draft("Why?", (1,), (2,), "a short text"), Draft("", (), (3,), "no")]


class FixedPipeline(Pipeline):
    """A transformers pipeline of two labels, without a model."""

    def __init__(self):
        self.model = SimpleNamespace(config=SimpleNamespace(id2label={0: "kind", 1: "rude"}, problem_type=None))

    def __call__(self, texts, truncation, top_k):
        assert truncation
        assert top_k is None
        return [[{"label": "rude", "score": 0.75}, {"label": "kind", "score": 0.25}] for _ in texts]

    def preprocess(self, *inputs):
        raise NotImplementedError

    _forward = postprocess = _sanitize_parameters = preprocess


def test_a_text_judge_reads_the_continuation_alone():
    seen = []

    def classify(texts):
        seen.append(list(texts))
        return [len(text) / 16 for text in texts]

    assert TextJudge("length", classify).score(DRAFTS, None) == [12 / 16, 2 / 16]
    assert seen == [["a short text", "no"]]


def test_a_text_judge_that_avoids_is_mirrored():
    judge = TextJudge("length", lambda texts: [len(text) / 16 for text in texts], avoid=True)
    assert judge.score(DRAFTS, None) == [4 / 16, 14 / 16]


def test_a_text_judge_may_fail_on_a_text():
    judge = TextJudge("half", lambda texts: [math.nan, 0.5])
    nan, half = judge.score(DRAFTS, None)
    assert math.isnan(nan)
    assert half == 0.5


@pytest.mark.parametrize(
    ("label", "avoid", "score"), [("rude", True, 0.25), ("kind", False, 0.25), ("rude", False, 0.75)]
)
def test_a_pipeline_judges_by_the_probability_of_a_label(label, avoid, score):
    judge = TextJudge.from_pipeline(FixedPipeline(), label, avoid)
    assert judge.name == label
    assert judge.score(DRAFTS, None) == [score, score]


def test_a_pipeline_without_the_label_is_refused():
    with pytest.raises(InvalidSetting, match="kind, rude"):
        TextJudge.from_pipeline(FixedPipeline(), "polite")


def test_a_function_judge_is_given_prompt_and_continuation():
    judge = FunctionJudge(lambda prompt, text: len(prompt + text) / 16)
    assert judge.score(DRAFTS, None) == [1.0, 2 / 16]
    assert judge.name == "<lambda>"
    assert FunctionJudge(lambda prompt, text: 0.0, "mine").name == "mine"


def test_a_function_must_take_two_texts():
    with pytest.raises(InvalidSetting, match="two texts"):
        FunctionJudge(lambda text: 1.0)


def test_a_function_must_return_a_number_from_0_to_1():
    with pytest.raises(InvalidData, match="got -1"):
        FunctionJudge(lambda prompt, text: -1.0).score(DRAFTS, None)


def test_the_description_of_a_classifier_says_what_it_is_and_which_scores_are_good():
    judge = TextJudge("rude", len, 0.75, avoid=True, about={"library": "mine 1.0"})
    expected = {"judge": "rude", "library": "mine 1.0", "threshold": "0.75", "avoid": "true"}
    assert description_of(judge) == expected


def test_the_description_of_a_function_says_where_it_is_and_hashes_its_source():
    def one(prompt, text):
        return 0.25

    def other(prompt, text):
        return 0.5

    first, second = (description_of(FunctionJudge(each, "mine")) for each in (one, other))
    assert first["judge"] == second["judge"] == "mine"
    assert first["function"].endswith("<locals>.one")
    assert first["source_sha256"] != second["source_sha256"]
    assert "source_sha256" not in description_of(FunctionJudge(max, "largest"))


@pytest.mark.parametrize("wrong", [{"threshold": "high"}, {"classify": 3}, {"avoid": "yes"}, {"name": None}])
def test_a_text_judge_of_wrong_types_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(WrongType, match=name):
        TextJudge(**{"name": "mine", "classify": len} | wrong)


def test_the_name_of_a_function_judge_must_be_text():
    with pytest.raises(WrongType, match="name"):
        FunctionJudge(lambda prompt, text: 0.5, 3)


class Mute:
    """A value that fails to describe itself."""

    def __repr__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize("wrong", ["abc" * 100_000, 3, [[]], Mute()])
def test_what_is_no_function_is_no_function_judge(wrong):
    construct = inspect.unwrap(FunctionJudge.__init__)  # the type checker of the tests would refuse it first
    with pytest.raises(InvalidSetting, match="two texts") as caught:
        construct(object.__new__(FunctionJudge), wrong)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ([0.5], "1 scores .* for 2 texts"),
        ([0.5, 0.5, 0.5], "3 scores .* for 2 texts"),
        (["good", "bad"], "'good'"),
        (["0.5", "0.5"], "'0.5'"),
        ([None, 0.5], "None"),
        ([10**400, 0.5], "got 1000"),
        (None, "list"),
        (0.5, "list"),
        ("ab", "list"),
    ],
)
def test_a_classifier_must_return_a_number_for_each_text(returned, expected):
    for avoid in (False, True):
        with pytest.raises(InvalidData, match=expected):
            TextJudge("mine", lambda texts: returned, avoid=avoid).score(DRAFTS, None)


def test_a_classifier_may_return_nan_and_arrays():
    for scores in (np.array([np.nan, 0.25]), torch.tensor([np.nan, 0.25])):
        first, second = TextJudge("mine", lambda texts, scores=scores: scores).score(DRAFTS, None)
        assert math.isnan(first)
        assert second == 0.25


def test_a_function_may_not_return_a_number_that_no_float_can_hold():
    with pytest.raises(InvalidData, match="got 1000"):
        FunctionJudge(lambda prompt, text: 10**400).score(DRAFTS, None)
