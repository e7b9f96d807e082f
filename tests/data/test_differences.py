"""What differs between two records."""

import pytest

from trimtab.data.differences import differences


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        ({"a": 1}, {"a": 1}, ""),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}, "b: 2 there, 3 here; c: None there, 4 here"),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, "a.b[1]: 2 there, 3 here"),
        ({"a": [1, 2]}, {"a": [1]}, "a: [1, 2] there, [1] here"),
        ({}, {"a": {"b": 1}}, "a: None there, {'b': 1} here"),
        ([], {}, ": [] there, {} here"),
    ],
)
def test_fields_that_differ_are_named(found, wanted, expected):
    assert differences(found, wanted) == expected


def test_long_values_are_cut():
    assert len(differences({"a": "x" * 10_000}, {"a": "y" * 10_000})) < 500


def test_ignored_fields_are_not_compared_at_any_depth():
    there = {"device": "cpu", "of": {"device": "cpu", "seed": 1}}
    assert differences(there, {"device": "cuda", "of": {"device": "cuda", "seed": 2}}, ["device"]) == (
        "of.seed: 1 there, 2 here"
    )


def test_later_fields_are_compared_where_both_records_have_them():
    assert differences({"a": 1}, {"a": 1, "hash": "x"}, later=["hash"]) == ""
    assert differences({"a": 1, "hash": "x"}, {"a": 1}, later=["hash"]) == ""
    assert differences({"hash": "x"}, {"hash": "y"}, later=["hash"]) == "hash: 'x' there, 'y' here"
