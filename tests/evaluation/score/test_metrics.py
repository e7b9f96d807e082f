"""Every figure against a few lines that compute it another way."""

import math
from collections import Counter

import numpy as np
import pytest

from trimtab.evaluation.score.metrics import (
    FRONTIER_LEVELS,
    Ratio,
    at_equal_perplexity,
    control_figures,
    draw_prompts,
    fluency_figure,
    level_of,
    text_figures,
)

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
    assert found["encoded"].value == pytest.approx(6 * 9 / 6)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_distinct_n_equals_counting_words(n):
    of_prompts = []
    for of in TEXTS:
        words = [text["text"].split() for text in of]
        grams = Counter(" ".join(w[i : i + n]) for w in words for i in range(len(w)) if i + n <= len(w))
        if sum(map(len, words)):
            of_prompts.append(len(grams) / sum(map(len, words)))
    assert text_figures(TEXTS)[f"distinct_{n}"].value == pytest.approx(sum(of_prompts) / len(of_prompts))


def test_repetition_is_the_share_of_4_grams_that_came_before():
    """Of "1 2 3 4 1 2 3 4 1", six 4-grams, two repeat; of a constant text of 7 tokens, three of four."""
    ids = [[[1, 2, 3, 4, 1, 2, 3, 4, 1], [1, 2, 3]], [[7] * 7, [1, 2, 3, 4]]]
    line = {**TEXTS[0][0], "text": ""}
    texts = [[{**line, "token_ids": each} for each in of] for of in ids]
    assert text_figures(texts)["seq_rep_4"].value == pytest.approx((2 / 6 + 3 / 4 + 0) / 3)


def test_an_interval_is_that_of_resampled_prompts():
    ratio = control_figures(SCORES, 0.5)["mean"]
    means = []
    for draw in draw_prompts(4):
        some = [s for place in draw for s in SCORES[place] if not math.isnan(s)]
        if some:
            means.append(sum(some) / len(some))
    assert ratio.interval() == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))


def test_a_95_percent_interval_covers_the_mean_about_95_percent_of_the_time():
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


@pytest.fixture(scope="module")
def frontier():
    """Top-k sampling, two methods on it, and their control at equal perplexity."""
    draw, ones = np.random.default_rng(0), np.ones(30)

    def point(perplexity, control):
        return Ratio(perplexity + draw.normal(0, 0.1, 30), ones), Ratio(control + draw.normal(0, 0.1, 30), ones)

    start, weak, strong, dear = point(10, 0.2), point(12, 0.4), point(16, 0.6), point(11.5, 0.9)
    found = at_equal_perplexity(start, {"far": [weak, strong], "near": [dear]})
    return [(x.over.mean(), y.over.mean()) for x, y in (start, weak, strong)], found


def test_control_at_equal_perplexity_is_interpolated(frontier):
    means, found = frontier
    for level, at in zip(FRONTIER_LEVELS[:3], found["far"], strict=False):
        x = means[0][0] * level
        (x0, y0), (x1, y1) = means[:2] if x < means[1][0] else means[1:]
        assert at[0] == pytest.approx(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
        assert at[1] < at[0] < at[2]


def test_a_weak_strength_may_lower_the_perplexity():
    """The level lies between the second and the third strength, not between the start and the third."""
    ones = np.ones(4)

    def point(perplexity, control):
        return Ratio(perplexity * ones, ones), Ratio(control * ones, ones)

    curve = [point(8.0, 0.3), point(9.0, 0.2), point(13.0, 0.1), point(12.5, 0.05)]
    found = at_equal_perplexity(point(10.0, 0.9), {"dips": curve})["dips"]
    assert found[0][0] == pytest.approx(0.2 - 0.1 * (11.0 - 9.0) / 4)  # 1.1 times 10
    assert found[1][0] == pytest.approx(0.05)  # the greater strength has 12.5 again


@pytest.mark.parametrize("missing", [0, 1, 49, 50, 600])
def test_draws_that_do_not_reach_a_level_widen_its_interval_or_take_its_figure_away(missing):
    """Of 2,000 draws the low bound lies just above the 50th, and the high bound just below the 1,951st."""
    reached = np.random.default_rng(missing).permutation(np.arange(2000.0 - missing))
    found = level_of(np.array([1000.0, *reached, *[np.nan] * missing]))
    if missing >= 50:
        assert found is None
    else:
        assert found == pytest.approx((1000.0, 49.975 - missing, 1949.025))


def test_data_that_do_not_reach_a_level_have_no_figure():
    assert level_of(np.array([np.nan, *np.arange(2000.0)])) is None


def test_levels_that_a_curve_does_not_reach_have_no_figure(frontier):
    _, found = frontier
    assert [at is None for at in found["far"]] == [False, False, False, True]
    assert [at is None for at in found["near"]] == [False, True, True, True]
