"""Labelled texts and pairs, read from tables, checked and sampled."""

import hashlib
import json

import pytest
from hypothesis import HealthCheck, given, settings

from hostile_rows import FILES, SUFFIXES
from trimtab.data.preferences import read_preferences
from trimtab.data.tables import (
    LabelledText,
    TextPair,
    digest_of,
    hash_of_file,
    read_labelled,
    read_pairs,
    select_balanced,
    select_rows,
)
from trimtab.errors import InvalidData, InvalidSetting, WrongType


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
    assert digest_of(["é😀\x7f"]) == hashlib.sha256(json.dumps(["é😀\x7f"]).encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    "label", [10**299, "nan", "inf", "1e999", "1_0", "yes", [], [1], {}, {"a": 1}, None, "", -(10**298), 1e31]
)
def test_a_label_that_is_no_number_is_a_fault(tmp_path, label):
    rows = [{"text": "a", "label": 1}, {"text": "b", "label": label}]
    table = read_labelled(write_lines(tmp_path / "rows.jsonl", rows), ["label"])
    assert table.rows == [LabelledText("a", (1.0,))]
    (fault,) = table.faults
    assert fault.startswith("line 2: got label=")
    assert fault.endswith("expected a number")
    assert len(fault) < 120


def test_true_and_false_are_labels(tmp_path):
    rows = [{"text": "a", "label": True}, {"text": "b", "label": "False"}]
    assert [row.labels for row in read_labelled(write_lines(tmp_path / "rows.jsonl", rows), ["label"]).rows] == [
        (1.0,), (0.0,)
    ]  # fmt: skip


def test_half_a_surrogate_pair_in_a_text_is_a_fault(tmp_path):
    rows = [{"text": "good", "chosen": "a", "rejected": "b"}, {"text": "x\ud800", "chosen": "a\udfff", "rejected": "b"}]
    path = write_lines(tmp_path / "rows.jsonl", rows)
    for table in (read_labelled(path, []), read_pairs(path), read_preferences(path)):
        assert len(table.rows) == 1
        assert "half of a surrogate pair" in table.faults[0]
        table.faults[0].encode("utf-8")


def test_labels_on_another_scale_are_refused_and_the_scale_is_named(tmp_path):
    rows = [{"text": f"w{number}", "stars": number % 5 + 1} for number in range(20)]
    path = write_lines(tmp_path / "rows.jsonl", rows)
    with pytest.raises(InvalidData, match=r"in 16 of 20 rows.*stars from 1 to 5.*--label-range 1 5"):
        read_labelled(path, ["stars"])
    labels = [row.labels[0] for row in read_labelled(path, ["stars"], label_range=(1, 5)).rows]
    assert labels == [number % 5 / 4 for number in range(20)]


def test_labels_that_are_all_out_of_range_are_refused_with_their_scale(tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", [{"text": "a", "label": 3}, {"text": "b", "label": 5}])
    with pytest.raises(InvalidData, match=r"label from 3 to 5.*--label-range 3 5"):
        read_labelled(path, ["label"])


def test_a_few_labels_out_of_range_are_faults(tmp_path):
    rows = [{"text": f"w{number}", "label": 7 if number in (3, 5) else 1} for number in range(300)]
    table = read_labelled(write_lines(tmp_path / "rows.jsonl", rows), ["label"])
    assert (len(table.rows), places(table)) == (298, ["line 4", "line 6"])


@pytest.mark.parametrize("label_range", [(1.0, 1.0), (5.0, 1.0), (0.0, float("nan")), (0.0, float("inf"))])
def test_a_range_of_labels_that_is_none_is_refused(tmp_path, label_range):
    path = write_lines(tmp_path / "rows.jsonl", [{"text": "a", "label": 1}])
    with pytest.raises(InvalidSetting, match="expected a number and a higher one"):
        read_labelled(path, ["label"], label_range=label_range)


def test_the_hash_is_that_of_the_bytes(tmp_path):
    (tmp_path / "data").write_bytes(b"abc")
    assert hash_of_file(tmp_path / "data") == hashlib.sha256(b"abc").hexdigest()
    assert hash_of_file(tmp_path / "hub-id") == ""


def test_a_table_has_the_hash_of_its_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_lines(path, [{"text": "a"}])
    assert read_labelled(str(path), []).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@settings(
    derandomize=True, max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=FILES, suffix=SUFFIXES)
def test_any_bytes_are_read_or_refused(tmp_path, content, suffix):
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(content)
    readers = [
        lambda: read_labelled(str(path), ["label"]),
        lambda: read_labelled(str(path), ["label.a"], "text.b", label_range=(-5, 5)),
        lambda: read_pairs(str(path)),
        lambda: read_preferences(str(path)),
    ]
    for read in readers:
        try:
            table = read()
        except InvalidData as error:
            str(error).encode("utf-8")
            continue
        assert table.rows
        "".join(table.faults).encode("utf-8")


@pytest.mark.parametrize("source", [None, 1, b"x.csv", ["x.csv"]])
@pytest.mark.parametrize("read", [lambda source: read_labelled(source, ["label"]), read_pairs])
def test_a_source_of_another_type_is_refused(read, source):
    with pytest.raises(WrongType, match="source="):
        read(source)


@pytest.mark.parametrize("columns", ["", "label", {}, {"label": 1}, [None], None, 3])
def test_columns_of_another_type_are_refused(tmp_path, columns):
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "a", "label": 1}', encoding="utf-8")
    with pytest.raises(WrongType, match="columns="):
        read_labelled(path, columns)


def test_a_table_is_read_from_a_path(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "a", "label": 1, "chosen": "b", "rejected": "c"}', encoding="utf-8")
    assert read_labelled(path, ["label"]).rows == [LabelledText("a", (1.0,))]
    assert read_pairs(path).rows == [TextPair("b", "c")]
    with pytest.raises(InvalidData, match="expected a file, or a data set"):
        read_pairs(tmp_path / "nowhere")


@pytest.mark.parametrize("source", ["x" * 300_000, "x" * 300_000 + ".csv", "a\x1b[31m\0b", "\x1b.jsonl"])
def test_the_message_about_an_unknown_table_is_short_and_plain(source):
    with pytest.raises(InvalidData) as caught:
        read_pairs(source)
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()


def test_a_fault_names_a_long_column_and_many_columns_in_short(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({f"column {number}": 1 for number in range(5000)}), encoding="utf-8")
    with pytest.raises(InvalidData, match="no column 'xxx") as caught:
        read_labelled(path, ["x" * 300_000], text_column="x" * 300_000)
    assert len(str(caught.value)) < 900


@pytest.mark.parametrize(
    "wrong", [lambda: LabelledText(1), lambda: LabelledText("a", ("b",)), lambda: TextPair("a", 2)]
)
def test_rows_of_another_type_are_refused(wrong):
    with pytest.raises(WrongType):
        wrong()
