"""The tree of a search: each step against values by hand, and statistics against the list of all visits."""

import math
import random

import numpy as np
import pytest

from trimtab.rewind.rewind_settings import RewindSettings
from trimtab.rewind.tree import Tree


def tree_with(weights, settings=None):
    """Return a tree whose root has children of these weights."""
    tree = Tree(settings)
    for token, weight in enumerate(weights):
        tree.root.add_child([token], weight)
    return tree


def test_priors_are_mixed_with_uniform_at_the_root_only():
    tree = tree_with([3.0, 1.0])
    first, second = tree.root.children
    assert tree.prior(first) == pytest.approx(0.75 * 0.75 + 0.125)
    assert tree.prior(second) == pytest.approx(0.75 * 0.25 + 0.125)
    below = [first.add_child([5], 0.2), first.add_child([6], 0.6)]
    assert [tree.prior(child) for child in below] == pytest.approx([0.25, 0.75])
    tree.commit(first)
    assert [tree.prior(child) for child in below] == pytest.approx([0.25 * 0.75 + 0.125, 0.75 * 0.75 + 0.125])


def test_zero_weights_give_equal_priors():
    tree = tree_with([0.0, 0.0])
    assert [tree.prior(child) for child in tree.root.children] == [0.5, 0.5]


def test_upper_bounds_and_selection_match_values_by_hand():
    tree = tree_with([0.5, 0.3, 0.2], RewindSettings(uniform=0.0))
    a, b, c = tree.root.children
    assert tree.select() == [tree.root, a]  # all bounds are 0 before the first visit: the first child
    tree.backup([tree.root, a], -1.0)
    # N = 1: a: q̂ = 0, 2·0.5·1/2 = 0.5; b: 0.6; c: 0.4
    assert [tree.upper_bound(node) for node in (a, b, c)] == pytest.approx([0.5, 0.6, 0.4])
    assert tree.select() == [tree.root, b]
    tree.backup([tree.root, b], 1.0)
    # N = 2: a: 2·0.5·√2/2; b: (1 + 1)/(2 + 1e-5) + 2·0.3·√2/2; c: 2·0.2·√2
    expected = [math.sqrt(2) / 2, 2 / 2.00001 + 0.3 * math.sqrt(2), 0.4 * math.sqrt(2)]
    assert [tree.upper_bound(node) for node in (a, b, c)] == pytest.approx(expected)
    below = b.add_child([9], 1.0)
    assert tree.select() == [tree.root, b, below]
    assert below.depth == 2


def test_similar_siblings_share_scores_above_the_threshold():
    tree = tree_with([1.0] * 4, RewindSettings(similarity_threshold=0.95, similarity_weight=0.2))
    a, b, c, d = tree.root.children
    a.add_embedding(np.array([1.0, 0.0]))
    b.add_embedding(np.array([0.99, 0.141]))  # cosine 0.99
    c.add_embedding(np.array([0.9, 0.436]))  # cosine 0.90
    tree.backup([tree.root, a], 1.0)
    cosine = 0.99 / math.hypot(0.99, 0.141)
    assert (b.visits, b.value, b.real_visits) == (pytest.approx(0.2 * cosine), pytest.approx(1.0), 0)
    assert (c.visits, d.visits) == (0, 0)
    tree.backup([tree.root, b], -1.0)
    weight = 0.2 * cosine
    assert b.value == pytest.approx((weight - 1) / (weight + 1))
    assert a.value == pytest.approx((1 - weight) / (1 + weight))
    assert (tree.root.visits, tree.root.value, a.real_visits) == (2, 0, 1)
    off = tree_with([1.0] * 2, RewindSettings(similarity_threshold=1.1))
    for node in off.root.children:
        node.add_embedding(np.array([1.0, 0.0]))
    off.backup([off.root, off.root.children[0]], 1.0)
    assert off.root.children[1].visits == 0


@pytest.mark.parametrize(
    ("values", "spread", "children", "wide"),
    [
        ([-1, -1, -1], 0.001, 20, True),
        ([-1, 0, -1], 0.001, 20, False),  # one is not bad
        ([-1, -1, -1], 1.0, 20, False),  # they differ
        ([-1, -1, -1], 0.17, 20, True),  # sample variance 0.0289
        ([-1, -1, -1], 0.18, 20, False),  # 0.0324 as a sample; the population variance, 0.0216, would be below
        ([-1, -1, -1], 0.001, 3, False),  # no room for more
    ],
)
def test_a_node_is_widened_if_all_children_are_bad_and_similar(values, spread, children, wide):
    tree = tree_with([1.0] * 3, RewindSettings(children=3, max_children=children))
    for number, (node, value) in enumerate(zip(tree.root.children, values, strict=True)):
        tree.backup([tree.root, node], value)
        assert not tree.should_widen(tree.root)  # one has no embedding yet
        node.add_embedding(np.array([1.0, spread * number]))
    assert tree.should_widen(tree.root) == wide
    assert (tree.select() == [tree.root]) == wide


@pytest.mark.parametrize(
    ("lengths", "spread", "wide"),
    [
        ((1, 1, 1), 0.25, False),  # sample variance 0.0625, threshold 0.03
        ((4, 4, 4), 0.25, True),  # threshold 0.12
        ((1, 4, 2), 0.25, True),  # the longest child counts
        ((4, 4, 4), 0.36, False),  # 0.1296
    ],
)
def test_longer_children_may_differ_more(lengths, spread, wide):
    tree = Tree()
    for number, length in enumerate(lengths):
        child = tree.root.add_child([number] * length, 1.0)
        tree.backup([tree.root, child], -1.0)
        child.add_embedding(np.array([1.0, spread * number]))
    assert tree.should_widen(tree.root) == wide


def test_a_child_that_is_an_eos_does_not_prevent_widening():
    tree = tree_with([1.0] * 3)
    *others, eos = tree.root.children
    eos.ended = True
    for node in others:
        tree.backup([tree.root, node], -1.0)
        node.add_embedding(np.array([1.0, 0.0]))
    assert not tree.should_widen(tree.root)  # the EOS is not judged yet
    tree.backup([tree.root, eos], -1.0)
    assert tree.should_widen(tree.root)


def test_commit_keeps_the_subtree_and_drops_its_siblings():
    tree = tree_with([0.6, 0.4])
    a, b = tree.root.children
    below = b.add_child([7, 8], 1.0)
    for path, score in (([a], 1.0), ([b], -1.0), ([b, below], 1.0), ([b, below], 1.0)):
        tree.backup([tree.root, *path], score)
    assert tree.most_visited() is b
    tree.backup([tree.root, a], 5.0)  # outside [-1, 1], to widen the range of q
    assert tree.highest == 3.0
    assert tree.commit(b) == (1,)
    assert (tree.lowest, tree.highest) == (-1.0, 3.0)
    assert (tree.root, below.path(), below.depth) == (b, [b, below], 2)
    assert (b.real_visits, below.real_visits, below.value) == (3, 2, 1.0)
    assert list(tree.root.subtree()) == [b, below]
    assert tree.most_visited() is below


def test_equally_visited_children_are_ranked_by_value():
    tree = tree_with([0.5, 0.5])
    assert Tree().most_visited() is None
    for node, score in zip(tree.root.children, (0.0, 1.0), strict=True):
        tree.backup([tree.root, node], score)
    assert tree.most_visited() is tree.root.children[1]


def test_a_simulation_leaves_the_tree_unchanged():
    tree = tree_with([0.6, 0.4])
    first, second = tree.root.children
    tree.backup([tree.root, first], 1.0)

    def state():
        nodes = [(node.tokens, node.visits, node.real_visits, node.value) for node in tree.root.subtree()]
        return nodes, tree.lowest, tree.highest, first.cannot_widen

    before = state()
    with tree.simulation():
        tree.backup([tree.root, first, first.add_child([7], 1.0)], -3.0)
        tree.backup([tree.root, second], 9.0)
        first.cannot_widen = True
        assert state() != before
    assert state() == before


def test_statistics_equal_those_of_the_list_of_visits():
    """In a random search, n and q of each node are recomputed from a log of all backups."""
    draw = random.Random(0)
    tree = tree_with([draw.random() for _ in range(4)], RewindSettings(similarity_threshold=0.5))
    log = {id(node): [] for node in tree.root.subtree()}
    for _ in range(120):
        path = tree.select()
        if path[-1].real_visits and len(path) < 5:
            for token in range(3):
                log[id(path[-1].add_child([token], draw.random()))] = []
            path = tree.select()
        score = draw.choice([-1.0, 0.0, 1.0])
        for node in path:
            node.add_embedding(np.array([draw.random(), draw.random()]))
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
    seen = [node for node in tree.root.subtree() if log[id(node)]]
    assert len(seen) > 20
    for node in seen:
        visits = log[id(node)]
        n = math.fsum(weight for _, weight in visits)
        assert node.visits == pytest.approx(n)
        assert node.value == pytest.approx(math.fsum(score * weight for score, weight in visits) / n)
        assert node.real_visits == sum(weight == 1.0 for _, weight in visits)
    assert tree.root.real_visits == 120


def test_a_constant_judge_gives_visits_in_proportion_to_the_priors():
    tree = tree_with([0.5, 0.3, 0.2], RewindSettings(uniform=0.0))
    for _ in range(2000):
        path = tree.select()
        tree.backup(path, 0.0)
    assert [node.real_visits / 2000 for node in tree.root.children] == pytest.approx([0.5, 0.3, 0.2], abs=0.01)
