"""Drafts are trees: which of their tokens are best, and which are right."""

import random
from math import isclose, nan, prod

import pytest

from trimtab.engines.draft import TEXT, Draft

TREE = Draft([7, 8, 9, 7, 5, 6], [TEXT, TEXT, 0, 1, 3, 2], [0.5, 0.4, 0.6, 0.9, 0.1, 0.0])


def random_draft(seed, size=12):
    """Return a tree whose tokens are all different."""
    random.seed(seed)
    after = [random.randint(TEXT, place - 1) for place in range(size)]
    return Draft(random.sample(range(100), size), after, [random.random() for _ in range(size)])


def path_to(draft, place):
    """Return the places from the text to one of them."""
    return [] if place == TEXT else [*path_to(draft, draft.after[place]), place]


def test_a_chain_follows_itself():
    chain = Draft.chain([4, 4, 5], chance=0.3)
    assert list(chain.after) == [TEXT, 0, 1]
    assert list(chain.chances) == [0.3] * 3
    assert not chain.branches
    assert chain.depths == [0, 1, 2]
    assert not Draft.chain([]).tokens


def test_a_tree_branches():
    assert TREE.branches
    assert TREE.depths == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("trust", [1.0, 0.3, 2.5])
@pytest.mark.parametrize("seed", range(5))
def test_a_worth_is_the_product_along_the_path(seed, trust):
    draft = random_draft(seed)
    for place, worth in enumerate(draft.worths(trust)):
        assert isclose(worth, prod(min(1.0, trust * draft.chances[each]) for each in path_to(draft, place)))


@pytest.mark.parametrize("count", [0, 1, 5, 12, 20])
@pytest.mark.parametrize("seed", range(5))
def test_the_best_are_the_most_probable_and_stay_a_tree(seed, count):
    draft = random_draft(seed)
    best = draft.best(count)
    assert best.worths() == pytest.approx(sorted(draft.worths(), reverse=True)[:count])
    old = {token: place for place, token in enumerate(draft.tokens)}
    for token, parent in zip(best.tokens, best.after, strict=True):
        before = draft.after[old[token]]
        assert (before == TEXT) == (parent == TEXT)
        assert parent == TEXT or best.tokens[parent] == draft.tokens[before]


def test_a_token_without_a_chance_is_left_out():
    assert list(TREE.best(9).tokens) == [7, 8, 7, 9, 5]


@pytest.mark.parametrize(
    ("chosen", "right"),
    [
        ([8, 0, 7, 0, 5, 0, 0], [1, 3, 4]),
        ([7, 9, 0, 1, 0, 0, 0], [0, 2]),
        ([7, 1, 0, 6, 0, 0, 0], [0]),
        ([1, 9, 7, 0, 0, 0, 0], []),
    ],
)
def test_the_right_tokens_are_those_that_the_text_goes_on_with(chosen, right):
    assert TREE.right(chosen) == right


def test_a_loop_that_takes_no_trees_gets_the_likeliest_path():
    chain = TREE.within(9, branches=False)
    assert (list(chain.tokens), list(chain.after), list(chain.chances)) == ([7, 9, 6], [TEXT, 0, 1], [0.5, 0.6, 0.0])
    assert list(TREE.within(1, branches=False).tokens) == [7]
    assert list(TREE.within(2, branches=True).tokens) == [7, 8, 9, 7]
    assert TREE.within(9, branches=True) == TREE
    assert not TREE.within(0, branches=True).tokens


def test_a_chance_that_is_not_a_number_is_none():
    draft = Draft([1, 2, 3], [TEXT, TEXT, 0], [nan, 0.2, 0.9])
    assert list(draft.best(3).tokens) == [2]


def test_what_follows_a_right_token_was_tried():
    assert TREE.tried([1, 3]) == [0, 1, 3, 4]
    assert TREE.tried([]) == [0, 1]
