"""A comparison's searches have the settings of `RewindSettings`; `top_k` and `max_kl` have names of their own."""

from dataclasses import fields
from typing import get_args, get_type_hints

import pytest

from trimtab.errors import InvalidSetting, WrongType
from trimtab.evaluation.run.search_settings import SearchSettings
from trimtab.rewind.rewind_settings import RewindSettings

SHARED = {"max_new_tokens", "temperature"}  # with all rows
NO_TEXT_CHANGES = {"speculate"}  # by it, so a comparison does without


def test_every_setting_of_a_search_can_be_set():
    names = {field.name for field in fields(RewindSettings)} - SHARED - NO_TEXT_CHANGES - {"top_k", "max_kl"}
    assert {field.name for field in fields(SearchSettings)} == {*names, "search_top_k", "search_max_kl"}


def test_the_defaults_are_the_papers():
    assert SearchSettings().settings(20, 0.7) == RewindSettings(max_new_tokens=20, temperature=0.7)
    found = SearchSettings(iterations=7, lengths=(1, 1, 1, 1), search_top_k=9, search_max_kl=0.5).settings()
    assert (found.iterations, found.lengths, found.top_k, found.max_kl) == (7, (1, 1, 1, 1), 9, 0.5)


def test_help_texts_are_those_of_a_search():
    own, theirs = (get_type_hints(kind, include_extras=True) for kind in (SearchSettings, RewindSettings))
    for name in set(own) - {"search_top_k", "search_max_kl"}:
        assert get_args(own[name])[1] == get_args(theirs[name])[1]


def test_values_out_of_range_are_refused_by_their_option():
    with pytest.raises(InvalidSetting, match="got iterations=0"):
        SearchSettings(iterations=0)
    with pytest.raises(InvalidSetting, match="got search_top_k=0"):
        SearchSettings(search_top_k=0)
    with pytest.raises(InvalidSetting, match="got search_max_kl=-1"):
        SearchSettings(search_max_kl=-1.0)
    with pytest.raises(WrongType, match="children"):
        SearchSettings(children="many")


def test_settings_that_no_search_reads_are_refused():
    SearchSettings().check_read(searched=False, steered=False)
    SearchSettings(iterations=7).check_read(searched=True, steered=False)
    SearchSettings(search_max_kl=0.5).check_read(searched=True, steered=True)
    for name, value in (("iterations", 7), ("whole_drafts", True), ("search_max_kl", 0.5)):
        option = f"--{name.replace('_', '-')}"
        with pytest.raises(InvalidSetting, match=f"got {option}, expected --rewind with it"):
            SearchSettings(**{name: value}).check_read(searched=False, steered=False)
    with pytest.raises(InvalidSetting, match="got --search-max-kl, expected --rewind-beta with it"):
        SearchSettings(search_max_kl=0.5).check_read(searched=True, steered=False)
