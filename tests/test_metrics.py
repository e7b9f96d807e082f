"""Every figure against a few lines that compute it another way."""

import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from trimtab.evaluation.frontier import LEVELS, at_equal_perplexity
from trimtab.evaluation.judge_quality import measure_judges
from trimtab.evaluation.judges import Judge
from trimtab.evaluation.metrics import Ratio, control_figures, draw_prompts, fluency_figure, text_figures
from trimtab.evaluation.report import agreement
from trimtab.training.data import LabelledText

SCORES = np.array([[0.1, 0.9, 0.4], [0.2, np.nan, 0.3], [0.5, 0.7, 0.0], [np.nan, np.nan, np.nan]])


def a_text(words, logprobs, kl, flips):
    return {
        "text": words,
        "token_ids": list(range(len(logprobs))),
        "base_logprobs": logprobs,
        "kl": kl,
        "flips": flips,
        "encoded": 9,
    }


TEXTS = [
    [a_text("a b a b", [-1.0, -2.0], [0.1, 0.3], [0, 1]), a_text("a c", [-3.0], [0.5], [1])],
    [a_text("", [], [], []), a_text("b b b", [-0.5, -0.25, -4.0], [0.0, 0.2, 0.2], [0, 0, 1])],
    [a_text("", [], [], []), a_text("", [], [], [])],
]


def test_control_figures_equal_counting_text_by_text():
    found = control_figures(SCORES, 0.5)
    known = [[s for s in of if not math.isnan(s)] for of in SCORES.tolist()]
    every = [s for of in known for s in of]
    maxima = [max(of) for of in known if of]
    assert found["mean"].value == pytest.approx(sum(every) / len(every))
    assert found["share"].value == pytest.approx(sum(s >= 0.5 for s in every) / len(every))
    assert found["average maximum"].value == pytest.approx(sum(maxima) / len(maxima))
    assert found["rate"].value == pytest.approx(sum(m >= 0.5 for m in maxima) / len(maxima))
    assert found["failed"].over.sum() == 4


def test_text_figures_equal_counting_token_by_token():
    found = text_figures(TEXTS)
    texts = [text for of in TEXTS for text in of]
    logprobs = [x for text in texts for x in text["base_logprobs"]]
    assert found["perplexity"].value == pytest.approx(math.prod(math.exp(-x) for x in logprobs) ** (1 / len(logprobs)))
    assert found["kl"].value == pytest.approx(1.3 / 6)
    assert found["top1_flip"].value == pytest.approx(3 / 6)
    for n in (1, 2, 3):
        of_prompts = []
        for of in TEXTS:
            words = [text["text"].split() for text in of]
            grams = Counter(" ".join(w[i : i + n]) for w in words for i in range(len(w)) if i + n <= len(w))
            if sum(map(len, words)):
                of_prompts.append(len(grams) / sum(map(len, words)))
        assert found[f"distinct_{n}"].value == pytest.approx(sum(of_prompts) / len(of_prompts))


def test_an_interval_is_that_of_resampled_prompts():
    ratio = control_figures(SCORES, 0.5)["mean"]
    means = []
    for draw in draw_prompts(4):
        some = [s for place in draw for s in SCORES[place] if not math.isnan(s)]
        if some:
            means.append(sum(some) / len(some))
    assert ratio.interval() == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))


def test_an_interval_covers_as_often_as_it_says():
    draw = np.random.default_rng(3)
    inside = 0
    for _ in range(200):
        low, high = Ratio(draw.normal(1.0, 1.0, 60), np.ones(60)).interval()
        inside += low <= 1.0 <= high
    assert 0.88 <= inside / 200 <= 0.99


def test_one_prompt_has_a_figure_and_no_prompt_has_none():
    assert Ratio(np.array([2.0]), np.array([4.0])).interval() == (0.5, 0.5)
    assert math.isnan(Ratio(np.zeros(2), np.zeros(2)).value)


def test_fluency_is_per_token_over_all_texts():
    readings = np.array([[[2.0, 4], [np.nan, np.nan]], [[9.0, 3], [0.0, 0]]])
    assert fluency_figure(readings).value == pytest.approx(math.exp(11 / 7))


def test_agreement_equals_its_definitions():
    draw = np.random.default_rng(0)
    one, other = draw.random(50), draw.random(50)
    one[3] = np.nan
    (found,) = agreement({"a": one, "b": other}, {"a": 0.5, "b": 0.4}).values()
    kept = ~np.isnan(one)
    ranks = [np.argsort(np.argsort(scores[kept])) for scores in (one, other)]
    assert found["spearman"] == pytest.approx(np.corrcoef(*ranks)[0, 1])
    verdicts = [one[kept] >= 0.5, other[kept] >= 0.4]
    assert found["same verdict"] == pytest.approx(np.mean(verdicts[0] == verdicts[1]))
    assert cohen_kappa_score(*verdicts) < 1  # they do differ
    assert found["texts"] == 49


def test_a_judge_is_measured_against_labels_and_its_failures_are_counted():
    scores = {"a": 0.9, "b": 0.2, "c": 0.6, "d": float("nan"), "e": 0.1}

    def judge(texts):
        if "boom" in texts:
            raise RuntimeError("no such word")
        return [scores[text] for text in texts]

    labels = {"a": 1.0, "b": 0.7, "c": 0.1, "d": 1.0, "e": 0.0, "boom": 1.0}
    rows = [LabelledText(text, (label,)) for text, label in labels.items()]
    found = measure_judges([Judge("mine", judge)], rows)["mine"]
    assert (found["texts"], found["failed"]) == (4, 2)
    assert found["faults"] == ["not a number: 'd'", "RuntimeError: no such word: 'boom'"]
    pairs = [scores[h] > scores[low] for h, low in product("ab", "ce")]
    assert found["auc"] == pytest.approx(np.mean(pairs)) == roc_auc_score([1, 1, 0, 0], [0.9, 0.2, 0.6, 0.1])
    assert found["accuracy"] == pytest.approx(2 / 4)


def test_methods_are_compared_where_they_cost_as_much():
    draw = np.random.default_rng(0)
    ones = np.ones(30)

    def point(perplexity, control):
        return Ratio(perplexity + draw.normal(0, 0.1, 30), ones), Ratio(control + draw.normal(0, 0.1, 30), ones)

    start, weak, strong, dear = point(10, 0.2), point(12, 0.4), point(16, 0.6), point(11.5, 0.9)
    found = at_equal_perplexity(start, {"far": [strong, weak], "near": [dear]})
    means = [(x.over.mean(), y.over.mean()) for x, y in (start, weak, strong)]
    for level, at in zip(LEVELS, found["far"], strict=True):
        x = means[0][0] * level
        if level == 2.0:  # 20, which no point reaches
            assert at is None
            continue
        (x0, y0), (x1, y1) = means[:2] if x < means[1][0] else means[1:]
        assert at[0] == pytest.approx(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
        assert at[1] < at[0] < at[2]
    assert [at is None for at in found["near"]] == [False, True, True, True]
