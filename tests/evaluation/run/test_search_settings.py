"""The settings of a comparison's searches: those of `RewindSettings`, with a prefix."""

from dataclasses import fields
from typing import get_args, get_type_hints

import pytest

from trimtab.errors import InvalidSetting, WrongType
from trimtab.evaluation.run.search_settings import PREFIX, SearchSettings
from trimtab.rewind.rewind_settings import RewindSettings

SHARED = {"max_new_tokens", "temperature"}  # with all rows


def test_every_setting_of_a_search_can_be_set():
    names = {field.name for field in fields(RewindSettings)} - SHARED
    assert {field.name for field in fields(SearchSettings)} == {PREFIX + name for name in names}


def test_the_defaults_are_the_papers():
    assert SearchSettings().settings(20, 0.7) == RewindSettings(max_new_tokens=20, temperature=0.7)
    found = SearchSettings(search_iterations=7, search_lengths=(1, 1, 1, 1)).settings()
    assert (found.iterations, found.lengths) == (7, (1, 1, 1, 1))


def test_help_texts_are_those_of_a_search():
    own, theirs = (get_type_hints(kind, include_extras=True) for kind in (SearchSettings, RewindSettings))
    for name, hint in own.items():
        expected = get_args(theirs[name.removeprefix(PREFIX)])[1].replace("--min-value", "--search-min-value")
        assert get_args(hint)[1] == expected


def test_values_out_of_range_are_refused_by_their_option():
    with pytest.raises(InvalidSetting, match="got search_iterations=0"):
        SearchSettings(search_iterations=0)
    with pytest.raises(WrongType, match="search_children"):
        SearchSettings(search_children="many")
