import gzip
import json

import pandas as pd
import pytest

from trimtab import errors
from trimtab.training.data import LabelledText, read_labelled, read_pairs
from trimtab.training.records import read_records

ROWS = [{"text": 'a "quoted" line\nand a second', "label": 1.0}, {"text": "tab\tand, comma", "label": 0.25}]


@pytest.fixture
def tables(tmp_path):
    """The same rows in every kind of file."""
    frame = pd.DataFrame(ROWS)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_csv(tmp_path / "rows.tsv", index=False, sep="\t")
    frame.to_csv(tmp_path / "rows.csv.gz", index=False)
    lines = "\n".join(json.dumps(row) for row in ROWS)
    (tmp_path / "rows.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "set").mkdir()
    frame.to_parquet(tmp_path / "set" / "train-00000.parquet")
    return tmp_path


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.csv.gz", "rows.jsonl", "rows.jsonl.gz", "set"])
def test_every_kind_of_table_gives_the_same_rows(tables, name, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tables / "cache"))
    read = read_labelled(str(tables / name), ["label"])
    assert [(row.text, row.labels) for row in read.rows] == [(row["text"], (row["label"],)) for row in ROWS]
    assert read.faults == []


def test_bad_rows_of_a_csv_are_named(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("text,label\ngood,1\nfew\nmany,1,2\nword,x\n,1\nlast,0\n", encoding="utf-8")
    read = read_labelled(str(path), ["label"])
    assert [row.text for row in read.rows] == ["good", "last"]
    assert [fault.split(":")[0] for fault in read.faults] == ["line 3", "line 4", "line 5", "line 6"]
    with pytest.raises(errors.InvalidData, match=r"no column 'other', its columns are 'text', 'label'"):
        read_labelled(str(path), ["other"])


def test_pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"chosen": "a", "rejected": "b"},
        {"chosen": "a", "rejected": "a"},
        {"chosen": "a"},
        {"chosen": ["a"], "rejected": "b"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    read = read_pairs(str(path))
    assert [(row.chosen, row.rejected) for row in read.rows] == [("a", "b")]
    assert [fault.split(":")[0] for fault in read.faults] == ["line 2", "line 3", "line 4"]


def test_what_cannot_be_read_is_said(tmp_path):
    with pytest.raises(errors.InvalidData, match="no such file"):
        list(read_records(str(tmp_path / "none.csv")))
    with pytest.raises(errors.InvalidData, match="no such file"):
        list(read_records(str(tmp_path / "none.jsonl")))
    (tmp_path / "latin.csv").write_bytes("text,label\ncafé,1\n".encode("latin-1"))
    with pytest.raises(errors.InvalidData, match="cannot be read from line"):
        list(read_records(str(tmp_path / "latin.csv")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(errors.InvalidData, match="a data set with a split 'train'"):
        list(read_records(str(tmp_path / "empty")))


def test_a_column_may_be_a_field_of_another(tmp_path):
    path = tmp_path / "nested.jsonl"
    rows = [{"text": {"words": "a b", "toxicity": 0.5}}, {"text": {"toxicity": 0.5}}, {"text": "plain"}]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    table = read_labelled(str(path), ["text.toxicity"], "text.words")
    assert table.rows == [LabelledText("a b", (0.5,))]
    assert [fault.split(":")[0] for fault in table.faults] == ["line 2", "line 3"]
