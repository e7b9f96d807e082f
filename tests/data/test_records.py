"""Rows of tables, from every kind of file."""

import gzip
import json

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings

from hostile_rows import FILES, SUFFIXES
from trimtab.data.records import Record, read_records
from trimtab.errors import InvalidData

ROWS = [{"text": 'a "quoted" line\nand a second', "label": 1.0}, {"text": "tab\tand, comma", "label": 0.25}]


@pytest.fixture
def tables(tmp_path):
    """Return a folder with the same rows in every kind of file."""
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
    records = list(read_records(str(tables / name)))
    assert [{**record.row, "label": float(record.row["label"])} for record in records] == ROWS
    assert [record.fault for record in records] == [None, None]


def test_places_are_line_numbers_of_the_file(tables):
    assert [record.place for record in read_records(str(tables / "rows.jsonl"))] == ["line 1", "line 2"]
    assert [record.place for record in read_records(str(tables / "rows.csv"))] == ["line 3", "line 4"]  # ends of rows


def test_rows_with_too_few_or_too_many_fields_are_named(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text,label\ngood,1\nfew\nmany,1,2\nlast,0\n", encoding="utf-8")
    records = list(read_records(str(path)))
    assert [record.row for record in records] == [
        {"text": "good", "label": "1"}, None, None, {"text": "last", "label": "0"}
    ]  # fmt: skip
    fault = "expected as many fields as the header has"
    assert records[1:3] == [Record("line 3", None, f"line 3: {fault}"), Record("line 4", None, f"line 4: {fault}")]


def test_a_byte_order_mark_is_not_part_of_the_first_column(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes("\ufefftext\ngood\n".encode())
    assert [record.row for record in read_records(str(path))] == [{"text": "good"}]


def test_a_text_of_a_million_characters_is_read(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text\n" + "x" * 10**6 + "\n", encoding="utf-8")
    (record,) = read_records(str(path))
    assert len(record.row["text"]) == 10**6


@pytest.mark.parametrize("name", ["none.csv", "none.jsonl"])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(InvalidData, match=rf"{name}.*no such file"):
        list(read_records(str(tmp_path / name)))


def test_a_file_of_another_format_is_refused(tmp_path):
    (tmp_path / "rows.xlsx").write_bytes(b"")
    with pytest.raises(InvalidData, match=r"rows\.xlsx.*expected \.csv, \.json"):
        list(read_records(str(tmp_path / "rows.xlsx")))


def test_a_file_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "latin.csv").write_bytes("text,label\ncafé,1\n".encode("latin-1"))
    with pytest.raises(InvalidData, match="cannot be read at line"):
        list(read_records(str(tmp_path / "latin.csv")))


@pytest.mark.parametrize("name", ["rows.csv.gz", "rows.jsonl.gz"])
def test_a_truncated_gzip_file_is_refused(tables, name):
    content = (tables / name).read_bytes()
    (tables / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(InvalidData, match="not a complete gzip file"):
        list(read_records(str(tables / name)))


def test_a_folder_without_a_data_set_is_refused(tmp_path):
    with pytest.raises(InvalidData, match="a data set with a split 'train'"):
        list(read_records(str(tmp_path)))


@settings(
    derandomize=True, max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=FILES, suffix=SUFFIXES)
def test_any_bytes_are_rows_faults_or_one_refusal(tmp_path, content, suffix):
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(content)
    try:
        records = list(read_records(str(path)))
    except InvalidData:
        return
    for record in records:
        assert (record.row is None) == (record.fault is not None)
        assert record.fault is None or record.fault.startswith(f"{record.place}: ")


def test_two_columns_of_one_name_are_refused(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text,label,label\na,1,0\n", encoding="utf-8")
    with pytest.raises(InvalidData, match="two columns 'label'"):
        list(read_records(str(path)))


@pytest.mark.parametrize("name", ["", " ", "x" * 5000, "rows.csv\0", "x" * 300 + ".csv", "x" * 300 + ".jsonl"])
def test_a_name_that_nothing_can_have_is_refused(name):
    with pytest.raises(InvalidData, match="expected"):
        list(read_records(name))


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_a_file_that_cannot_be_read_is_named(tables, name, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(InvalidData, match=rf"cannot read .*{name}.*Permission denied"):
        list(read_records(str(tables / name)))
