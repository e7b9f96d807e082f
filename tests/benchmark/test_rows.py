"""The rows of the table."""

import pytest

from trimtab.benchmark.rows import KEYS, ROWS, find_rows
from trimtab.errors import InvalidSetting


def test_every_row_has_a_name_and_a_title_of_its_own():
    assert len(set(KEYS)) == len({row.title for row in ROWS}) == len(ROWS)


def test_every_method_has_a_row():
    """What a benchmark must show: both writers, the free reward, ARM, and RAD computed in three ways."""
    methods = {(row.writer, row.reward and (row.reward.recipe.trunk, row.reward.recipe.head)) for row in ROWS}
    expected = {("generate", None), ("loop", None)}
    assert expected | {("loop", pair) for pair in (("frozen", "q"), ("lora", "q"), ("lora", "v"))} <= methods
    rad = {row.reward.by for row in ROWS if row.reward and row.reward.recipe.head == "v"}
    assert rad == {"block mask", "cached calls", "re-encoding"}


def test_rows_are_found_in_the_order_of_the_table_with_the_plain_loop():
    assert [row.key for row in find_rows(["rad", "own"])] == ["plain", "own", "rad"]


def test_an_unknown_row_is_refused():
    with pytest.raises(InvalidSetting, match=r"'fast'.*transformers, plain"):
        find_rows(["own", "fast"])
