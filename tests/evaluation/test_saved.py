"""JSON records in the folder of a comparison."""

import pytest

from trimtab.errors import InvalidData
from trimtab.evaluation.saved import read_saved


def read(path, content):
    path.write_text(content, encoding="utf-8")
    return read_saved(path)


def test_nan_of_earlier_versions_is_null_and_texts_stay(tmp_path):
    found = read(tmp_path / "a.json", '{"values": [NaN, [NaN,1]], "text": "NaN: not a number", "last":NaN}')
    assert found == {"values": [None, [None, 1]], "text": "NaN: not a number", "last": None}


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": Infinity}', '{"a": 1e999}', "[" * 100_000])
def test_damaged_files_are_named(tmp_path, content):
    with pytest.raises(InvalidData, match=r"a\.json"):
        read(tmp_path / "a.json", content)


def test_no_file_is_an_empty_record(tmp_path):
    assert read_saved(tmp_path / "nothing.json") == {}
