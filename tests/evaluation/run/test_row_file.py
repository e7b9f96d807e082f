"""The file of a row: counted by whole batches, locked, and refused if it is another's."""

import json

import pytest

from trimtab.errors import InvalidData
from trimtab.evaluation.run.row_file import RowFile, differences, read_row

SETTINGS = {"method": "q", "betas": (1, 2)}


@pytest.fixture
def file(tmp_path):
    return RowFile(tmp_path / "folder" / "row.jsonl", SETTINGS)


def fill(file, texts):
    with file.claimed() as ours:
        assert ours
        done = file.resume([2, 2, 1])
        file.append({"place": number} for number in range(texts))
    return done


def test_a_new_file_holds_its_settings(file):
    assert fill(file, 0) == 0
    assert read_row(file.path) == ({"method": "q", "betas": [1, 2]}, [])


@pytest.mark.parametrize(("texts", "batches", "kept"), [(1, 0, 0), (2, 1, 2), (3, 1, 2), (4, 2, 4), (5, 3, 5)])
def test_whole_batches_are_counted_and_the_rest_is_removed(file, texts, batches, kept):
    fill(file, texts)
    assert file.resume([2, 2, 1]) == batches
    assert len(read_row(file.path)[1]) == kept


def test_a_torn_last_line_is_removed(file):
    fill(file, 2)
    with file.path.open("a", encoding="utf-8") as opened:
        opened.write('{"place": 2')
    assert file.resume([2, 2]) == 1
    assert file.path.read_text(encoding="utf-8").endswith('{"place": 1}\n')


def test_a_file_with_other_settings_is_refused(file):
    fill(file, 2)
    other = RowFile(file.path, {**SETTINGS, "method": "v"})
    with pytest.raises(InvalidData, match="method: q there, v here"):
        other.resume([2])


def test_one_process_holds_a_row(file):
    with file.claimed() as first, RowFile(file.path, SETTINGS).claimed() as second:
        assert (first, second) == (True, False)
    with file.claimed() as again:
        assert again


def test_files_without_settings_or_with_damaged_lines_are_refused(tmp_path):
    path = tmp_path / "row.jsonl"
    path.write_text('{"place": 0}\n', encoding="utf-8")
    with pytest.raises(InvalidData, match="no settings"):
        read_row(path)
    path.write_text(json.dumps({"settings": {}}) + "\n{damaged\n{}\n", encoding="utf-8")
    with pytest.raises(InvalidData, match="damaged: line 2"):
        read_row(path)


def test_an_error_about_settings_names_the_differences():
    assert differences({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == "b: 2 there, 3 here; c: None there, 4 here"
    assert differences({"a": 1}, {"a": 1}) == ""
