"""Settings and limits of a search."""

from dataclasses import replace

import pytest

from trimtab.errors import InvalidSetting, WrongType
from trimtab.rewind.rewind_settings import Budget, RewindSettings


@pytest.mark.parametrize(
    "wrong",
    [
        {"exploration": -1},
        {"similarity_weight": float("nan")},
        {"variance": -0.1},
        {"max_kl": -0.1},
        {"max_kl": 1e-9},
        {"max_kl": float("inf")},
        {"uniform": 1.5},
        {"uniform": -0.1},
        {"temperature": 0},
        {"max_children": 9},
        {"lengths": (1, 2, 0, 4)},
        {"iterations": 0},
        {"fresh_iterations": 0},
        {"min_visits": 0},
        {"children": 0},
        {"top_k": 0},
        {"draft_tokens": 0},
        {"lookahead": 0},
        {"max_new_tokens": 0},
        {"min_value": float("nan")},
        {"similarity_threshold": float("inf")},
        {"exploration": float("inf")},
        {"exploration": 10**400},
        {"temperature": 10**5000},
        {"iterations": 10**30},
        {"iterations": 10**5000},
        {"max_children": 10**30},
        {"lengths": (1, 2, 10**30, 4)},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(InvalidSetting, match=name):
        replace(RewindSettings(), **wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"iterations": "5"},
        {"iterations": 5.0},
        {"iterations": None},
        {"iterations": True},
        {"temperature": "1"},
        {"uniform": False},
        {"lengths": (1, 2, 4)},
        {"lengths": 3},
        {"lengths": (1, 2, "4", 10)},
        {"depth": 3},
    ],
)
def test_settings_of_another_type_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(WrongType, match=name):
        RewindSettings(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"max_seconds": "5"}, {"max_iterations": True}, {"max_encoded": 2.5}, {"max_hours": 1}]
)
def test_limits_of_another_type_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(WrongType, match=name):
        Budget(**wrong)


@pytest.mark.parametrize("name", ["max_iterations", "max_encoded", "max_seconds"])
@pytest.mark.parametrize("limit", [0, -1, 10**400])
def test_limits_of_0_or_less_are_refused(name, limit):
    with pytest.raises(InvalidSetting, match=name):
        Budget(**{name: limit})


def test_the_last_length_holds_for_all_deeper_branches():
    settings = RewindSettings(lengths=(1, 2, 4, 10))
    assert [settings.length(depth) for depth in range(6)] == [1, 2, 4, 10, 10, 10]


def test_widest_is_the_larger_of_top_k_and_max_children():
    assert RewindSettings(top_k=5, children=3, max_children=8).widest == 8
    assert RewindSettings(top_k=30).widest == 30
