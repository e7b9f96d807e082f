"""The accuracy of rewards on preference sets, against counting pair by pair."""

from itertools import product

import numpy as np
import pytest

from tiny import tiny_reward
from trimtab.data.preferences import Comparison
from trimtab.evaluation.score.preference_accuracy import REWARD_BENCH, accuracy_figures, reward_bench, score_comparisons


def test_rm_bench_is_counted_by_the_difference_in_style():
    draw = np.random.default_rng(0)
    scores = draw.integers(0, 4, (20, 3, 2)).astype(float)  # ties among them
    found = accuracy_figures([Comparison("", ("",) * 3, ("",) * 3)] * 20, scores)
    cells = {(i, j): np.mean([row[i, 0] > row[j, 1] for row in scores]) for i, j in product(range(3), repeat=2)}
    assert found["hard"].value == pytest.approx(np.mean([cells[i, j] for i, j in cells if i < j]))
    assert found["normal"].value == pytest.approx(np.mean([cells[i, i] for i in range(3)]))
    assert found["easy"].value == pytest.approx(np.mean([cells[i, j] for i, j in cells if i > j]))
    assert found["accuracy"].value == pytest.approx(np.mean(list(cells.values())))
    assert 0 < found["ties"].value < 1


def test_a_tie_is_an_error():
    found = accuracy_figures(
        [Comparison("", ("a",), ("b",))] * 4, np.array([[[1, 1]], [[2, 1]], [[0, 1]], [[3, 3]]]) * 1.0
    )
    assert (found["accuracy"].value, found["ties"].value) == (0.25, 0.5)


def test_sections_of_reward_bench_are_weighted_means_of_their_subsets():
    counts = {name: count for section in REWARD_BENCH.values() for name, count in section.items()}
    assert sum(counts.values()) == 2985 + 984 - 447  # its examples, with math-prm counted as all the code
    draw = np.random.default_rng(1)
    accuracies = {name: float(draw.random()) for name in counts}
    found = reward_bench(accuracies)
    sections = []
    for section, of_section in REWARD_BENCH.items():
        as_rows = np.repeat([accuracies[name] for name in of_section], list(of_section.values()))
        sections.append(as_rows.mean())
        assert found[section].value == pytest.approx(as_rows.mean())
    assert found["RewardBench"].value == pytest.approx(np.mean(sections))


def test_a_section_of_reward_bench_with_a_missing_subset_has_no_score():
    accuracies = {name: 0.5 for section in REWARD_BENCH.values() for name in section if name != "donotanswer"}
    assert reward_bench(accuracies).keys() == {"Chat", "Chat Hard", "Reasoning"}


def test_each_subset_has_an_accuracy():
    comparisons = [Comparison("", ("a",), ("b",), subset) for subset in ("chat", "chat", "math")]
    found = accuracy_figures(comparisons, np.array([[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 0.0]]]))
    assert (found["chat"].value, found["math"].value) == (0.5, 1.0)
    assert found["accuracy"].value == pytest.approx(2 / 3)


def test_scores_equal_those_of_the_texts_one_by_one(frozen, head):
    reward = tiny_reward(frozen, head)
    comparisons = [
        Comparison("w1 w2", ("w3",), ("w4 w5 w6",)),
        Comparison("", ("w7 w8 w9",), ("w3",)),
        Comparison("w9", (" ".join(["w5"] * 80),), ("w1",)),  # longer than the context
    ]
    up, cut = score_comparisons(reward, "calm", "up", comparisons, "{prompt} {answer}")
    assert cut == 1
    texts = [["w1 w2 w3", "w1 w2 w4 w5 w6"], ["w7 w8 w9", "w3"], [" ".join(["w5"] * 63), "w9 w1"]]
    for row, of_comparison in zip(up, texts, strict=True):
        for score, text in zip(row[0], of_comparison, strict=True):
            assert score == pytest.approx(reward.score(text)[0, 1].item(), rel=1e-5, abs=1e-5)
    down, _ = score_comparisons(reward, "calm", "down", comparisons, "{prompt} {answer}")
    assert down == pytest.approx(-up)


def test_differences_are_summed_over_the_text(llama):
    """A reward without a baseline scores tokens; a text's reward is their sum."""
    reward = tiny_reward(llama, "q", clamp=None, baseline=False)
    scores, _ = score_comparisons(reward, None, "up", [Comparison("", ("w1 w2 w3",), ("w4",))], "{answer}")
    values = reward.score_ids([llama.tokenizer("w1 w2 w3")["input_ids"]]).values[0, :, 0]
    assert scores[0, 0, 0] == pytest.approx(values.double().sum().item(), rel=1e-5, abs=1e-5)
