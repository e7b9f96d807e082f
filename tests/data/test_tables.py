"""Labelled texts and pairs, read from tables, checked and sampled."""

import json

import pytest

from trimtab.data.tables import (
    LabelledText,
    TextPair,
    digest_of,
    read_labelled,
    read_pairs,
    select_balanced,
    select_rows,
)
from trimtab.errors import InvalidData, InvalidSetting


def write_lines(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


def places(table):
    return [fault.split(":")[0] for fault in table.faults]


def test_labelled_texts_have_one_label_per_column(tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", [{"body": "good", "kind": 1, "calm": "0.5"}])
    assert read_labelled(path, ["calm", "kind"], "body").rows == [LabelledText("good", (0.5, 1.0))]
    assert read_labelled(path, [], "body").rows == [LabelledText("good", ())]


def test_rows_without_a_text_or_a_label_in_range_are_named(tmp_path):
    rows = [
        {"text": "good", "label": 1},
        {"text": "word", "label": "x"},
        {"text": "large", "label": 1.5},
        {"text": "none", "label": None},
        {"text": " ", "label": 1},
        {"text": 7, "label": 1},
        {"label": 1},
        ["text", 1],
        {"text": "last", "label": 0},
    ]
    table = read_labelled(write_lines(tmp_path / "rows.jsonl", rows), ["label"])
    assert [row.text for row in table.rows] == ["good", "last"]
    assert places(table) == [f"line {number}" for number in range(2, 9)]


def test_a_missing_column_is_named_with_the_columns_that_exist(tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", [{"text": "a", "label": 1}])
    with pytest.raises(InvalidData, match=r"no column 'other'; the columns are 'text', 'label'"):
        read_labelled(path, ["other"])


def test_an_empty_table_is_refused(tmp_path):
    (tmp_path / "rows.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(InvalidData, match="no usable row; first fault: the table is empty"):
        read_labelled(str(tmp_path / "rows.jsonl"), [])


def test_a_dotted_column_is_a_field_of_another_column(tmp_path):
    rows = [{"text": {"words": "a b", "toxicity": 0.5}}, {"text": {"toxicity": 0.5}}, {"text": "plain"}]
    table = read_labelled(write_lines(tmp_path / "rows.jsonl", rows), ["text.toxicity"], "text.words")
    assert table.rows == [LabelledText("a b", (0.5,))]
    assert places(table) == ["line 2", "line 3"]


def test_a_column_whose_name_has_a_dot_is_found(tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", [{"text.words": "a b"}])
    assert read_labelled(path, [], "text.words").rows == [LabelledText("a b")]


def test_pairs_need_two_different_texts(tmp_path):
    rows = [
        {"chosen": "a", "rejected": "b"},
        {"chosen": "a", "rejected": "a"},
        {"chosen": "a"},
        {"chosen": ["a"], "rejected": "b"},
    ]
    table = read_pairs(write_lines(tmp_path / "pairs.jsonl", rows))
    assert table.rows == [TextPair("a", "b")]
    assert places(table) == ["line 2", "line 3", "line 4"]


def test_pairs_may_have_other_column_names(tmp_path):
    path = write_lines(tmp_path / "pairs.jsonl", [{"polite": "a", "rude": "b"}])
    assert read_pairs(path, "polite", "rude").rows == [TextPair("a", "b")]


def test_selected_rows_are_a_seeded_sample_without_repetition():
    rows = list(range(50))
    chosen = select_rows(rows, 20, seed=1)
    assert len(set(chosen)) == len(chosen) == 20
    assert chosen == select_rows(rows, None, seed=1)[:20] != select_rows(rows, 20, seed=2)
    assert sorted(select_rows(rows, None, seed=3)) == rows


def test_balanced_rows_are_half_above_and_half_below():
    rows = [LabelledText(str(number), (number / 40, 0.0)) for number in range(30)]  # 20 below ½, 10 above
    highs = [row.labels[0] >= 0.5 for row in select_balanced(rows, None, seed=0)]
    assert (sum(highs), len(highs)) == (10, 20)
    assert [row.labels[0] >= 0.5 for row in select_balanced(rows, 7, seed=0)] == [True, False] * 3


def test_limits_that_leave_nothing_are_refused():
    rows = [LabelledText("a", (1.0,)), LabelledText("b", (0.0,))]
    with pytest.raises(InvalidSetting, match="limit=0"):
        select_rows(rows, 0, seed=0)
    with pytest.raises(InvalidSetting, match="limit=1"):
        select_balanced(rows, 1, seed=0)
    with pytest.raises(InvalidData, match=r"1 rows of at least 0\.5 and 0 below"):
        select_balanced(rows[:1], None, seed=0)


def test_a_digest_depends_on_values_and_order():
    digests = {digest_of(values) for values in (["a", "b"], ["b", "a"], ["ab"], [["a"], "b"])}
    assert len(digests) == 4
    assert digest_of(["a", "b"]) in digests
