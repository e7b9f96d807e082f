"""JSON-lines files: bad lines are named, and interrupted files are repaired."""

import gzip
import json
import os
import threading
from pathlib import Path

import pytest

from full_disk import files_of_at_most
from trimtab.data.jsonlines import append_rows, check_input, drop_torn_line, parse_lines, read_lines
from trimtab.errors import InvalidData


def test_bad_lines_are_named_and_blank_ones_are_skipped(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n\n  \nbroken\n[2]\n"\xff"\n{"a": 2}')
    lines = list(read_lines(path))
    assert [(line.number, line.row) for line in lines] == [
        (1, {"a": 1}),
        (4, None),
        (5, None),
        (6, None),
        (7, {"a": 2}),
    ]
    assert [line.fault and line.fault.split(":")[0] for line in lines] == [None, "line 4", "line 5", "line 6", None]
    assert "got list, expected an object" in lines[2].fault


def test_only_a_newline_ends_a_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    row = {"text": "one\u2028two\x85three"}
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    assert [line.row for line in read_lines(path)] == [row]


def test_gzip_files_are_read_and_damaged_ones_refused(tmp_path):
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 100))
    assert len(list(read_lines(path))) == 100
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InvalidData, match="not a complete gzip file"):
        list(read_lines(path))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InvalidData, match="no such file"):
        list(read_lines(tmp_path / "none.jsonl"))


def test_appended_rows_are_read_again(tmp_path):
    path, rows = tmp_path / "rows.jsonl", [{"text": "é\n"}, {"text": "b"}]
    append_rows(path, rows[:1])
    append_rows(path, rows[1:])
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == rows


@pytest.mark.parametrize(
    ("content", "kept"),
    [("", ""), ("{}\n", "{}\n"), ('{}\n{"a"', "{}\n"), ('{"a', "")],
)
def test_an_incomplete_last_line_is_removed(tmp_path, content, kept):
    path = tmp_path / "rows.jsonl"
    path.write_text(content, encoding="utf-8")
    drop_torn_line(path)
    assert path.read_text(encoding="utf-8") == kept


def test_repairing_a_missing_file_does_nothing(tmp_path):
    drop_torn_line(tmp_path / "none.jsonl")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b'{"a": ' * 100_000, "line 1: not JSON that can be read: it is nested too deeply"),
        (b'{"a": NaN}', "line 1: not JSON: got NaN, expected a finite number"),
        (b'{"a": 1e999}', "line 1: not JSON: got 1e999, expected a finite number"),
        (b'{"a": "\xff"}', "line 1: not UTF-8: invalid start byte at byte 7"),
    ],
)
def test_a_line_that_json_cannot_hold_is_named(line, fault):
    assert [each.fault for each in parse_lines([line])] == [fault]


def test_a_pipe_is_read(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[b'{"a": 1}\n'])
    writer.start()
    assert [line.row for line in read_lines(pipe)] == [{"a": 1}]
    writer.join()


def test_rows_with_numbers_that_json_lacks_are_null_and_half_characters_are_escaped(tmp_path):
    path = tmp_path / "rows.jsonl"
    append_rows(path, [{"reward": float("nan"), "text": "\ud800"}])
    assert path.read_bytes() == b'{"reward": null, "text": "\\ud800"}\n'


def test_a_full_disk_leaves_the_file_as_it_was_and_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    append_rows(path, [{"a": 1}])
    with files_of_at_most(1000), pytest.raises(OSError, match=r"rows\.jsonl"):
        append_rows(path, [{"a": "x" * 600}, {"a": "y" * 600}])
    assert path.read_text(encoding="utf-8") == '{"a": 1}\n'


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("folder", "it is a folder"),
        ("/dev/null", "it is a device"),
        ("none.jsonl", "there is no such file"),
        ("x" * 300, "there is no such file"),
        ("file/x.jsonl", "there is no such file"),
    ],
)
def test_what_is_no_input_is_told(tmp_path, name, said):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for read in (check_input, lambda path: list(read_lines(path))):
        with pytest.raises(InvalidData, match=said):
            read(tmp_path / name)


def test_standard_input_and_pipes_are_inputs(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("-")):
        check_input(path)
