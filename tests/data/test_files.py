"""File names, reasons, and JSON objects in files."""

import errno

import pytest

from trimtab.data.files import file_name, read_record, shown_path, why_not_written
from trimtab.errors import InvalidData


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("rewards/polite:tone", "rewards-polite-tone"),
        ("β=20 + best-of", "β=20-+-best-of"),
        ("../../etc", "etc"),
        ("a\\b|c?*", "a-b-c"),
    ],
)
def test_file_names_have_no_characters_that_a_file_system_may_refuse(text, name):
    assert file_name(text) == name


def test_a_json_object_is_read(tmp_path):
    path = tmp_path / "record.json"
    assert read_record(path) == {}
    path.write_text('{"a": [1]}', encoding="utf-8")
    assert read_record(path) == {"a": [1]}


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "cannot read"), ("[1]", "got list"), ('{"a": NaN}', "cannot read"), ("[" * 100_000, "too deeply")],
)
def test_a_damaged_json_file_is_refused(tmp_path, content, message):
    path = tmp_path / "record.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InvalidData, match=message):
        read_record(path)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), "the disk is full"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "the disk is full"),
        (OSError(errno.EACCES, "Permission denied", "/a/b"), "Permission denied"),
        (ValueError("something\nelse"), "something else"),
    ],
)
def test_why_a_file_is_not_written_is_told_without_its_path(error, expected):
    assert why_not_written(error) == expected


def test_of_a_long_path_the_end_is_shown():
    assert shown_path("a/b.csv") == "'a/b.csv'"
    long = shown_path("x" * 300_000 + "/name.csv")
    assert long.endswith("/name.csv'")
    assert len(long) < 160
    assert shown_path("\x1b[31m").isprintable()


def test_nan_of_earlier_versions_is_null_on_request_and_texts_stay(tmp_path):
    path = tmp_path / "record.json"
    path.write_text('{"values": [NaN, [NaN,1]], "text": "NaN: not a number", "last":NaN}', encoding="utf-8")
    found = {"values": [None, [None, 1]], "text": "NaN: not a number", "last": None}
    assert read_record(path, nan_is_null=True) == found
    with pytest.raises(InvalidData, match="got NaN"):
        read_record(path)


@pytest.mark.parametrize("content", ["", '{"a": Infinity}', '{"a": -Infinity}', '{"a": 1e999}'])
def test_other_numbers_that_are_not_finite_are_refused(tmp_path, content):
    path = tmp_path / "record.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InvalidData, match=r"record\.json"):
        read_record(path, nan_is_null=True)
