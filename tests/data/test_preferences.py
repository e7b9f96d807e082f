"""Preference data in the layouts of published data sets."""

import json

import pytest

from trimtab.data.preferences import Comparison, read_preferences
from trimtab.errors import InvalidData


@pytest.fixture
def written(tmp_path):
    def write(*rows):
        path = tmp_path / "set.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        return str(path)

    return write


@pytest.mark.parametrize(
    ("row", "comparison"),
    [
        ({"chosen": "good", "rejected": "bad"}, Comparison("", ("good",), ("bad",))),
        (
            {"prompt": "ask", "chosen": "good", "rejected": "bad", "subset": "refusals"},
            Comparison("ask", ("good",), ("bad",), "refusals"),
        ),
        (
            {"prompt": "ask", "chosen": ["a", "b", "c"], "rejected": ["d", "e", "f"], "domain": "chat"},
            Comparison("ask", ("a", "b", "c"), ("d", "e", "f"), "chat"),
        ),
        ({"input": "ask", "output_1": "bad", "output_2": "good", "label": 2}, Comparison("ask", ("good",), ("bad",))),
        ({"input": "ask", "output_1": "good", "output_2": "bad", "label": 1}, Comparison("ask", ("good",), ("bad",))),
    ],
)
def test_the_columns_of_a_row_determine_its_layout(written, row, comparison):
    table = read_preferences(written(row))
    assert (table.rows, table.faults) == ([comparison], [])


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"input": "ask", "output_1": "bad", "output_2": "good", "label": 3}, "got label=3, expected 1 or 2"),
        ({"chosen": ["a", "b"], "rejected": "c"}, "got 2 chosen and 1 rejected answers"),
        ({"chosen": 7, "rejected": "bad"}, "got chosen=7, expected a text"),
        ({"chosen": [], "rejected": []}, "expected a text or a list of texts"),
        ({"chosen": "same", "rejected": "same"}, "got the same answer twice"),
    ],
)
def test_unusable_rows_are_named(written, row, fault):
    table = read_preferences(written({"chosen": "a", "rejected": "b"}, row))
    assert len(table.rows) == 1
    (named,) = table.faults
    assert named.startswith("line 2: ")
    assert fault in named


@pytest.mark.parametrize("first", ["styles", "pair"])
def test_all_rows_have_as_many_answers_as_the_first(written, first):
    """Else the scores of one row would be paired with those of another."""
    rows = {
        "styles": {"chosen": ["a", "b", "c"], "rejected": ["d", "e", "f"]},
        "pair": {"chosen": "a", "rejected": "b"},
        "llmbar": {"input": "ask", "output_1": "bad", "output_2": "good", "label": 2},
    }
    order = ["styles", "pair"] if first == "styles" else ["pair", "styles"]
    table = read_preferences(written({"chosen": []}, *(rows[name] for name in (*order, "llmbar", first))))
    expected = 3 if first == "styles" else 1
    assert {len(row.chosen) for row in table.rows} == {expected}
    assert len(table.faults) == (3 if first == "styles" else 2)
    assert table.faults[1] == f"line 3: got {4 - expected} chosen answers, expected {expected}, as in the first row"


def test_columns_may_have_other_names(written):
    path = written({"better": "a", "worse": "b"})
    assert read_preferences(path, "train", "better", "worse").rows == [Comparison("", ("a",), ("b",))]
    with pytest.raises(InvalidData, match="no column 'chosen'"):
        read_preferences(path)
