"""The tree of a search: steps by hand, and everything again from the list of visits."""

import math
import random

import numpy as np
import pytest

from trimtab import errors
from trimtab.rewind.settings import RewindSettings
from trimtab.rewind.tree import Tree


def grown(weights, settings=None):
    """A tree whose root has children of these weights."""
    tree = Tree(settings)
    for token, weight in enumerate(weights):
        tree.root.add([token], weight)
    return tree


def test_priors_are_mixed_at_the_search_root_alone():
    tree = grown([3.0, 1.0])
    first, second = tree.root.children
    assert tree.prior(first) == pytest.approx(0.75 * 0.75 + 0.125)
    assert tree.prior(second) == pytest.approx(0.75 * 0.25 + 0.125)
    below = [first.add([5], 0.2), first.add([6], 0.6)]
    assert [tree.prior(child) for child in below] == pytest.approx([0.25, 0.75])
    tree.commit(first)
    assert [tree.prior(child) for child in below] == pytest.approx([0.25 * 0.75 + 0.125, 0.75 * 0.75 + 0.125])


def test_without_weights_all_are_equal():
    tree = grown([0.0, 0.0])
    assert [tree.prior(child) for child in tree.root.children] == [0.5, 0.5]


def test_selection_by_hand():
    tree = grown([0.5, 0.3, 0.2], RewindSettings(uniform=0.0))
    a, b, c = tree.root.children
    assert tree.select() == [tree.root, a]  # all bounds are 0 before the first visit: the first child
    tree.backup([tree.root, a], -1.0)
    # N = 1: a: q̂ = 0, 2·0.5·1/2 = 0.5; b: 0.6; c: 0.4
    assert [tree.bound(node) for node in (a, b, c)] == pytest.approx([0.5, 0.6, 0.4])
    assert tree.select() == [tree.root, b]
    tree.backup([tree.root, b], 1.0)
    # N = 2: a: 2·0.5·√2/2; b: (1 + 1)/(2 + 1e-5) + 2·0.3·√2/2; c: 2·0.2·√2
    expected = [math.sqrt(2) / 2, 2 / 2.00001 + 0.3 * math.sqrt(2), 0.4 * math.sqrt(2)]
    assert [tree.bound(node) for node in (a, b, c)] == pytest.approx(expected)
    below = b.add([9], 1.0)
    assert tree.select() == [tree.root, b, below]
    assert below.depth == 2


def test_scores_are_shared_with_siblings_that_say_the_same():
    tree = grown([1.0] * 4, RewindSettings(similarity_threshold=0.95, similarity_weight=0.2))
    a, b, c, d = tree.root.children
    a.embed(np.array([1.0, 0.0]))
    b.embed(np.array([0.99, 0.141]))  # cosine 0.99
    c.embed(np.array([0.9, 0.436]))  # cosine 0.90
    tree.backup([tree.root, a], 1.0)
    cosine = 0.99 / math.hypot(0.99, 0.141)
    assert (b.visits, b.value, b.real_visits) == (pytest.approx(0.2 * cosine), pytest.approx(1.0), 0)
    assert (c.visits, d.visits) == (0, 0)
    tree.backup([tree.root, b], -1.0)
    weight = 0.2 * cosine
    assert b.value == pytest.approx((weight - 1) / (weight + 1))
    assert a.value == pytest.approx((1 - weight) / (1 + weight))
    assert (tree.root.visits, tree.root.value, a.real_visits) == (2, 0, 1)
    off = grown([1.0] * 2, RewindSettings(similarity_threshold=1.1))
    for node in off.root.children:
        node.embed(np.array([1.0, 0.0]))
    off.backup([off.root, off.root.children[0]], 1.0)
    assert off.root.children[1].visits == 0


@pytest.mark.parametrize(
    ("values", "spread", "children", "wide"),
    [
        ([-1, -1, -1], 0.001, 20, True),
        ([-1, 0, -1], 0.001, 20, False),  # one is not bad
        ([-1, -1, -1], 1.0, 20, False),  # they differ
        ([-1, -1, -1], 0.17, 20, True),  # a variance of 0.0289, as of a sample
        ([-1, -1, -1], 0.18, 20, False),  # 0.0324; of all there is, it would be 0.0216
        ([-1, -1, -1], 0.001, 3, False),  # enough
    ],
)
def test_widening_by_hand(values, spread, children, wide):
    tree = grown([1.0] * 3, RewindSettings(children=3, most_children=children))
    for number, (node, value) in enumerate(zip(tree.root.children, values, strict=True)):
        tree.backup([tree.root, node], value)
        assert not tree.may_widen(tree.root)  # one has no embedding yet
        node.embed(np.array([1.0, spread * number]))
    assert tree.may_widen(tree.root) == wide
    assert (tree.select() == [tree.root]) == wide


def test_a_child_without_words_does_not_stand_in_the_way_of_widening():
    """EOS alone: judged, and nothing to embed."""
    tree = grown([1.0] * 3)
    *words, end = tree.root.children
    end.ended = True
    for node in words:
        tree.backup([tree.root, node], -1.0)
        node.embed(np.array([1.0, 0.0]))
    assert not tree.may_widen(tree.root)  # the end has not been judged yet
    tree.backup([tree.root, end], -1.0)
    assert tree.may_widen(tree.root)


def test_commit_keeps_what_is_below_and_takes_back_the_rest():
    tree = grown([0.6, 0.4])
    a, b = tree.root.children
    below = b.add([7, 8], 1.0)
    for path, score in (([a], 1.0), ([b], -1.0), ([b, below], 1.0), ([b, below], 1.0)):
        tree.backup([tree.root, *path], score)
    assert tree.favourite() is b
    tree.backup([tree.root, a], 5.0)  # out of range, so that it shows
    assert tree.most == 3.0
    assert tree.commit(b) == (1,)
    assert (tree.least, tree.most) == (-1.0, 3.0)
    assert (tree.root, below.path(), below.depth) == (b, [b, below], 2)
    assert (b.real_visits, below.real_visits, below.value) == (3, 2, 1.0)
    assert list(tree.root.all()) == [b, below]
    assert tree.favourite() is below


def test_ties_go_to_the_higher_value():
    tree = grown([0.5, 0.5])
    assert Tree().favourite() is None
    for node, score in zip(tree.root.children, (0.0, 1.0), strict=True):
        tree.backup([tree.root, node], score)
    assert tree.favourite() is tree.root.children[1]


def test_statistics_are_those_of_the_list_of_visits():
    """Random searches, every node's n and q recomputed from what was written down of each backup."""
    draw = random.Random(0)
    tree = grown([draw.random() for _ in range(4)], RewindSettings(similarity_threshold=0.5))
    log = {id(node): [] for node in tree.root.all()}
    for _ in range(120):
        path = tree.select()
        if path[-1].real_visits and len(path) < 5:
            for token in range(3):
                log[id(path[-1].add([token], draw.random()))] = []
            path = tree.select()
        score = draw.choice([-1.0, 0.0, 1.0])
        for node in path:
            node.embed(np.array([draw.random(), draw.random()]))
        for node in path:
            log[id(node)].append((score, 1.0))
            for sibling in node.parent.children if node.parent else ():
                if sibling is node or sibling.embedding is None:
                    continue
                e, f = node.embedding, sibling.embedding
                cosine = sum(e * f) / math.sqrt(sum(e * e) * sum(f * f))
                if cosine > 0.5:
                    log[id(sibling)].append((score, 0.2 * cosine))
        tree.backup(path, score)
    seen = [node for node in tree.root.all() if log[id(node)]]
    assert len(seen) > 20
    for node in seen:
        visits = log[id(node)]
        n = math.fsum(weight for _, weight in visits)
        assert node.visits == pytest.approx(n)
        assert node.value == pytest.approx(math.fsum(score * weight for score, weight in visits) / n)
        assert node.real_visits == sum(weight == 1.0 for _, weight in visits)
    assert tree.root.real_visits == 120


def test_with_a_constant_judge_visits_follow_the_priors():
    tree = grown([0.5, 0.3, 0.2], RewindSettings(uniform=0.0))
    for _ in range(2000):
        path = tree.select()
        tree.backup(path, 0.0)
    assert [node.real_visits / 2000 for node in tree.root.children] == pytest.approx([0.5, 0.3, 0.2], abs=0.01)


@pytest.mark.parametrize("wrong", [{"exploration": -1}, {"uniform": 1.5}, {"most_children": 9}, {"variance": -0.1}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(errors.InvalidSetting, match=next(iter(wrong))):
        RewindSettings(**wrong)
