"""Preference sets: their layouts, and their authors' ways of counting."""

import json
from itertools import product

import numpy as np
import pytest

from tiny import tiny_reward
from trimtab import errors
from trimtab.evaluation.preference_accuracy import REWARD_BENCH, accuracy_figures, reward_bench, score_comparisons
from trimtab.evaluation.preferences import Comparison, read_preferences


def written(tmp_path, rows):
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return str(path)


def test_layouts_are_told_by_their_columns(tmp_path):
    rows = [
        {"chosen": "good", "rejected": "bad"},
        {"prompt": "ask", "chosen": "good", "rejected": "bad", "subset": "refusals"},
        {"prompt": "ask", "chosen": ["a", "b", "c"], "rejected": ["d", "e", "f"], "domain": "chat"},
        {"input": "ask", "output_1": "bad", "output_2": "good", "label": 2},
        {"input": "ask", "output_1": "bad", "output_2": "good", "label": 3},
        {"chosen": ["a", "b"], "rejected": "c"},
        {"chosen": 7, "rejected": "bad"},
        {"chosen": "same", "rejected": "same"},
    ]
    table = read_preferences(written(tmp_path, rows))
    assert table.rows == [
        Comparison("", ("good",), ("bad",)),
        Comparison("ask", ("good",), ("bad",), "refusals"),
        Comparison("ask", ("a", "b", "c"), ("d", "e", "f"), "chat"),
        Comparison("ask", ("good",), ("bad",)),
    ]
    assert [fault.split(":")[0] for fault in table.faults] == ["line 5", "line 6", "line 7", "line 8"]
    with pytest.raises(errors.InvalidData, match="no column 'chosen'"):
        read_preferences(written(tmp_path, [{"better": "a", "worse": "b"}]))
    renamed = read_preferences(written(tmp_path, [{"better": "a", "worse": "b"}]), "train", "better", "worse")
    assert renamed.rows == [Comparison("", ("a",), ("b",))]


def test_rm_bench_counts_the_three_triangles():
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


def test_reward_bench_weighs_its_subsets():
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
    del accuracies["donotanswer"]
    assert reward_bench(accuracies).keys() == {"Chat", "Chat Hard", "Reasoning"}


def test_scores_are_those_of_the_texts_one_by_one(frozen, head):
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
            assert score == pytest.approx(reward.score(text)[0, 1].item(), abs=1e-5)
    down, _ = score_comparisons(reward, "calm", "down", comparisons, "{prompt} {answer}")
    assert down == pytest.approx(-up)
