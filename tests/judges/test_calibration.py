"""Calibration: accuracies, intervals and ties counted by hand."""

import math

import pytest

from drafts import draft_of
from trimtab.engines.torch.engine import TorchEngine
from trimtab.errors import InvalidData
from trimtab.judges.calibration import Calibration, calibrate_on_pairs, calibrate_on_texts
from trimtab.judges.draft import Draft
from trimtab.judges.self_judge import SelfJudge
from trimtab.judges.text_judges import FunctionJudge
from trimtab.models.prefix_cache import PrefixCache

SCORES = [1, 0.75, 0.5, 0, 0, 0.25, 0.5, 1]
TEXTS = [Draft("", (), (number,), f"w{number}") for number in range(8)]
JUDGE = FunctionJudge(lambda prompt, text: SCORES[int(text[1:])], "by hand")


def test_accuracy_is_the_mean_over_good_and_bad_texts_and_a_tie_counts_one_half():
    """Good: right, right, tie, wrong. Bad: right, right, tie, wrong."""
    (found,) = calibrate_on_texts(JUDGE, TEXTS, [True] * 4 + [False] * 4, None)
    assert (found.judge, found.count, found.accuracy, found.ties, found.first_letter) == (
        "by hand",
        8,
        0.625,
        0.25,
        None,
    )
    assert found.decided == pytest.approx(2 / 3)
    assert found.near_chance
    assert "near chance" in found.warning
    assert "accuracy 62.5%" in found.summary


def test_a_wrong_sign_is_not_taken_for_chance():
    good, bad = TEXTS[4:6] * 20, TEXTS[:2] * 20
    (found,) = calibrate_on_texts(JUDGE, good + bad, [True] * 40 + [False] * 40, None)
    assert (found.accuracy, found.near_chance) == (0.0, False)
    assert "it is worse than chance, 0% (0% to " in found.warning
    assert "is its sign wrong?" in found.warning


def test_a_judge_that_decides_on_few_texts_is_warned_of():
    good, bad = (TEXTS[:1] + TEXTS[2:3] * 2) * 20, (TEXTS[4:5] + TEXTS[6:7] * 2) * 20
    (found,) = calibrate_on_texts(JUDGE, good + bad, [True] * 60 + [False] * 60, None)
    assert found.warning == "do not search by by hand: it does not decide on 67% of them"


@pytest.mark.parametrize(
    ("ties", "first", "warned"), [(0.2, 0.8, True), (0.2, 0.2, True), (0.1, 0.8, False), (0.2, 0.7, False)]
)
def test_a_judge_that_prefers_a_letter_and_ties_is_warned_of(ties, first, warned):
    found = Calibration("self", 99, 0.9, (0.8, 0.95), 0.9, ties, first)
    expected = f"do not search by self: it chooses the first option {first:.0%} of the time, in both orders"
    assert found.warning == (expected if warned else "")


def test_many_right_answers_are_better_than_chance():
    good, bad = TEXTS[:2] * 20, TEXTS[4:6] * 20
    (found,) = calibrate_on_texts(JUDGE, good + bad, [True] * 40 + [False] * 40, None)
    assert (found.accuracy, found.near_chance, found.warning) == (1.0, False, "")
    share = 42 / 44
    margin = 1.96 * math.sqrt(share * (1 - share) / 44 / 2)
    assert found.interval == pytest.approx((share - margin, share + margin))


def test_good_and_bad_texts_count_the_same_whatever_their_numbers():
    """All of 30 good texts right, the one bad text wrong."""
    (found,) = calibrate_on_texts(JUDGE, TEXTS[:1] * 30 + TEXTS[7:], [True] * 30 + [False], None)
    assert found.accuracy == 0.5


@pytest.mark.parametrize(
    ("chosen", "rejected", "accuracy", "ties"), [((0, 1, 2), (3, 4, 5), 1.0, 0.0), ((0, 2, 3), (7, 6, 0), 1 / 3, 2 / 3)]
)
def test_pairs_are_right_if_the_better_text_scores_higher(chosen, rejected, accuracy, ties):
    (found,) = calibrate_on_pairs(JUDGE, [TEXTS[n] for n in chosen], [TEXTS[n] for n in rejected], None)
    assert (found.count, found.accuracy, found.ties) == (3, pytest.approx(accuracy), pytest.approx(ties))


def test_texts_that_are_all_good_or_all_bad_are_refused():
    with pytest.raises(InvalidData, match="all good"):
        calibrate_on_texts(JUDGE, TEXTS, [True] * 8, None)
    with pytest.raises(InvalidData, match="all bad"):
        calibrate_on_texts(JUDGE, TEXTS, [False] * 8, None)


def test_progress_is_reported_by_texts():
    seen = []
    calibrate_on_texts(JUDGE, TEXTS * 2, [True, False] * 8, None, lambda done, total: seen.append((done, total)))
    assert seen == [(8, 16), (16, 16)]


@pytest.mark.long
@pytest.mark.slow
def test_a_self_judge_answers_once_for_hard_and_soft_scores(smollm2):
    engine = TorchEngine(smollm2.base, PrefixCache())
    answers = (" A friend.", " None of your business.", " Me.")
    texts = [draft_of(engine.codec, "Who are you?", text) for text in answers]
    hard, soft = calibrate_on_texts(SelfJudge.from_text("self"), texts, [True, False, True], engine)
    assert (hard.judge, soft.judge) == ("self:harmlessness", "self:harmlessness, soft")
    for found, judge in ((hard, SelfJudge.from_text("self")), (soft, SelfJudge.from_text("self", soft=True))):
        right = [
            0.5 + 0.5 * ((score > 0.5) - (score < 0.5)) * sign
            for score, sign in zip(judge.score(texts, engine), (1, -1, 1), strict=True)
        ]
        assert found.accuracy == pytest.approx(((right[0] + right[2]) / 2 + right[1]) / 2)
        evaluations = judge.evaluate([(text.prompt, text.token_ids) for text in texts], engine)
        letters = [letter for evaluation in evaluations for letter in evaluation.letters]
        assert found.first_letter == letters.count(0) / 6
