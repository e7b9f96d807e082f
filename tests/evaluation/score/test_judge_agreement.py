"""Agreement of judges with labels and with each other, against counting."""

from itertools import product

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from trimtab.data.tables import LabelledText
from trimtab.errors import NonFiniteReward
from trimtab.evaluation.score.judge_agreement import agreement, measure_judges
from trimtab.judges.text_judges import TextJudge

SCORES = {"a": 0.9, "b": 0.2, "c": 0.6, "d": float("nan"), "e": 0.1}
LABELS = {"a": 1.0, "b": 0.7, "c": 0.1, "d": 1.0, "e": 0.0, "boom": 1.0}


def classify(texts):
    if "boom" in texts:
        raise RuntimeError("no such word")
    return [SCORES[text] for text in texts]


@pytest.fixture(scope="module")
def found():
    rows = [LabelledText(text, (label,)) for text, label in LABELS.items()]
    return measure_judges([TextJudge("mine", classify)], rows)["mine"]


def test_a_judge_is_measured_against_labels(found):
    pairs = [SCORES[high] > SCORES[low] for high, low in product("ab", "ce")]
    assert found["auc"] == pytest.approx(np.mean(pairs)) == roc_auc_score([1, 1, 0, 0], [0.9, 0.2, 0.6, 0.1])
    assert found["accuracy"] == pytest.approx(2 / 4)
    ranks = np.corrcoef([3, 0 + 1, 2, 0], [3, 2, 1, 0])[0, 1]  # of a, b, c, e by score and by label
    assert found["spearman"] == pytest.approx(ranks)


def test_failures_of_a_judge_are_counted_and_named(found):
    assert (found["texts"], found["failed"]) == (4, 2)
    assert found["faults"] == ["not a number: 'd'", "RuntimeError: no such word: 'boom'"]


def test_accuracy_uses_the_threshold_of_the_judge():
    rows = [LabelledText(text, (LABELS[text],)) for text in "abce"]
    low = measure_judges([TextJudge("low", classify, threshold=0.15)], rows)["low"]
    assert low["accuracy"] == pytest.approx(3 / 4)


def test_labels_of_a_single_class_have_no_auc():
    rows = [LabelledText(text, (1.0,)) for text in "ab"]
    found = measure_judges([TextJudge("mine", classify)], rows)["mine"]
    assert np.isnan(found["auc"])
    assert found["accuracy"] == 0.5


def test_agreement_of_two_judges_equals_its_definitions():
    draw = np.random.default_rng(0)
    one, other = draw.random(50), draw.random(50)
    one[3] = np.nan
    (found,) = agreement({"a": one, "b": other}, {"a": 0.5, "b": 0.4}).values()
    kept = ~np.isnan(one)
    ranks = [np.argsort(np.argsort(scores[kept])) for scores in (one, other)]
    assert found["spearman"] == pytest.approx(np.corrcoef(*ranks)[0, 1])
    same = [(a >= 0.5) == (b >= 0.4) for a, b in zip(one[kept], other[kept], strict=True)]
    assert 0 < sum(same) < 49
    assert found["same verdict"] == pytest.approx(sum(same) / 49)
    assert found["texts"] == 49


def test_a_judge_says_what_it_is_made_of(found):
    assert found["made_of"]["judge"] == "mine"
    assert found["made_of"]["threshold"] == "0.5"


def test_a_reward_that_is_not_finite_is_no_judge():
    rows = [LabelledText(text, (LABELS[text],)) for text in "abd"]
    with pytest.raises(NonFiniteReward, match="'mine'"):
        measure_judges([TextJudge("reward:mine", classify)], rows)
