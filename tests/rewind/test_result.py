from dataclasses import asdict

import pytest

from search_results import early_end, search_result, two_commits


@pytest.fixture
def codec(llama):
    return llama.codec


def test_drafts_that_are_not_part_of_the_text_are_counted(codec):
    """Of the first commit: " so" and " awful" below it. " and helpful" is below the kept branch, so undecided."""
    assert search_result(codec, two_commits()).taken_back == 2


def test_a_search_that_a_budget_ended_gives_up_what_is_beside_its_best_draft(codec):
    assert search_result(codec, [early_end()], reason="budget").taken_back == 2


def test_the_dictionary_holds_the_text_and_every_commit(codec):
    result = search_result(codec, two_commits(), prompt="You are")
    found = result.as_dict()
    assert (found["prompt"], found["text"], found["finish_reason"]) == ("You are", " kind people.", "eos")
    assert (found["iterations"], found["taken_back"]) == (7, 2)
    assert found["commits"] == [asdict(commit) for commit in result.commits]


def test_the_representation_shows_text_reason_and_iterations(codec):
    result = search_result(codec, two_commits())
    assert repr(result) == "SearchResult(' kind people.', 'eos', iterations=7)"
