import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.data.json_text import dump_json, parse_json
from trimtab.errors import InvalidData

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [math.nan], {"a": (1.0, math.nan)}])
def test_numbers_that_are_not_finite_become_null(value):
    text = dump_json(value)
    assert "null" in text
    assert parse_json(text) == json.loads(text)


def test_texts_are_written_as_they_are_and_half_characters_as_escapes():
    assert dump_json("é\u2028") == '"é\u2028"'
    assert parse_json(dump_json(["\ud800", "é"])) == ["\ud800", "é"]
    dump_json("\ud800").encode("utf-8")


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "NaN", "-Infinity", "[1e999]", "9" * 5000, "-" + "9" * 401, "nul", b"\xff\xfe\xfa"),
        *("[" * 100_000, '{"a":' * 100_000, "[" * 201 + "]" * 201, '{"a":[' * 450 + "]}" * 450),
        '[{"steer": 1, "a": 2, "steer": 1}]',
    ],
    ids=range(14),
)
def test_what_is_no_finite_json_is_refused(text):
    with pytest.raises(InvalidData, match="not JSON"):
        parse_json(text)


@pytest.mark.parametrize("text", ["9" * 300, "-" + "9" * 299, "[" * 200 + "]" * 200, '{"a":' * 200 + "1" + "}" * 200])
def test_what_is_read_can_be_a_float_and_written_again(text):
    value = parse_json(text)
    assert json.loads(dump_json(value)) == value
    assert not isinstance(value, int) or math.isfinite(float(value))


@settings(derandomize=True, deadline=None, max_examples=200)
@given(VALUES)
def test_any_value_can_be_written_and_read(value):
    text = dump_json(value)
    text.encode("utf-8")
    assert dump_json(parse_json(text)) == text


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(content):
    try:
        parse_json(content)
    except InvalidData:
        return


@pytest.mark.parametrize("value", ["é\u2028\U0001f642", ["\ud800"], {"ü": 1}])
def test_ascii_json_is_what_json_writes_by_default(value):
    """Hashes that were recorded earlier must stay."""
    assert dump_json(value, ascii_only=True) == json.dumps(value)
