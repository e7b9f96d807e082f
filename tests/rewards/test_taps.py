"""The shape of a ladder."""

import pytest

from trimtab import errors
from trimtab.rewards.taps import check_ladder_width, even_taps


@pytest.mark.parametrize(
    ("layers", "count", "expected"), [(30, 5, (6, 12, 18, 24, 30)), (3, 3, (1, 2, 3)), (7, 2, (4, 7)), (5, 1, (5,))]
)
def test_taps_are_even_and_end_at_the_top(layers, count, expected):
    assert even_taps(layers, count) == expected


def test_more_rungs_than_layers_are_refused():
    with pytest.raises(errors.InvalidSetting, match="got ladder_layers=4, expected at most the 3 layers"):
        even_taps(3, 4)


def test_the_width_splits_into_heads():
    check_ladder_width(192, 3)
    with pytest.raises(errors.InvalidSetting, match="expected a multiple"):
        check_ladder_width(16, 3)
