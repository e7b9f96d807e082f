"""The loops of a search, driven by hand: no model, every number known."""

import numpy as np
import pytest
import torch

from trimtab.engines.base import Choice
from trimtab.rewind.draft import Draft, Judged
from trimtab.rewind.search import Search, Written
from trimtab.rewind.settings import RewindSettings

FEW = RewindSettings(iterations=6, fresh_iterations=2, enough_visits=100, children=2, most_children=2, lengths=(1,) * 4)


def chosen(token):
    none = torch.zeros(1)
    return Choice(token, 0, torch.tensor([token]), none, none, {})


def drive(search, score):
    """Answer every want: two children a node, 1 and 2; drafts that are the branch itself; depths as embeddings."""
    judged = 0
    while wants := search.wants():
        for want in wants:
            if want.kind == "draft":
                path = want.node.path()[1:]
                tokens = tuple(token for node in path for token in node.tokens)
                choices = search.choices + tuple(map(chosen, tokens))
                embeddings = tuple(np.array([float(node.depth), 1.0]) for node in path)
                draft = Draft("", (), tokens, "")
                search.judged[want.node] = Judged(draft, score(search.token_ids + tokens), choices, "", embeddings)
                judged += 1
            else:
                search.grow(want, [Written((chosen(token),), weight, None) for token, weight in ((1, 0.6), (2, 0.4))])
    return judged


def searched(settings, limit, score, most_iterations=None):
    search = Search("", (0,), 0, limit, settings, str, most_iterations)
    grow = search.grow

    def ending(want, children):
        length = len(search.choices) + len(want.node.path())
        grow(want, [Written(c.choices, c.weight, "length" if length >= limit else None) for c in children])

    search.grow = ending
    return search, drive(search, score)


def test_a_commit_follows_enough_iterations_the_inherited_ones_counted():
    search, _ = searched(FEW, 5, lambda tokens: 1.0 if tokens[-1:] == (2,) else -1.0)
    assert search.commits[0].visits == 6
    for before, after in zip(search.commits, search.commits[1:], strict=False):
        inherited = next(branch.visits for branch in before.branches if branch.kept)
        assert after.visits == inherited + max(6 - inherited, 2)
    assert search.token_ids == (2,) * 5


def test_a_good_choice_is_committed_early():
    settings = RewindSettings(**{**vars(FEW), "iterations": 50, "enough_visits": 3})
    search, _ = searched(settings, 1, lambda tokens: 1.0)
    (kept,) = (branch for branch in search.commits[0].branches if branch.kept)
    assert (kept.visits, kept.value) == (4, 1.0)
    assert search.commits[0].visits < 50
    search, _ = searched(settings, 1, lambda tokens: 0.8)  # good, not above 0.8
    assert search.commits[0].visits == 50


def test_embeddings_go_to_their_nodes():
    """Also of drafts that were judged ahead of need, before the root moved down."""
    search = Search("", (0,), 0, 6, RewindSettings(**{**vars(FEW), "iterations": 20}), str, 60)
    drive(search, lambda tokens: 0.5 if tokens[-1:] == (1,) else -0.5)
    assert search.commits
    embedded = [node for node in search.tree.root.all() if node.embedding is not None]
    assert max(node.depth for node in embedded) > len(search.commits)
    assert all(node.embedding[0] == node.depth for node in embedded)
    assert all(node.embedding is not None for node in search.tree.root.all() if node.real_visits and node.parent)


@pytest.mark.parametrize("budget", [1, 2, 5, 8])
def test_no_more_is_judged_than_the_budget(budget):
    search, judged = searched(FEW, 50, lambda tokens: 0.0, budget)
    assert search.iterations == budget
    assert judged <= budget
    assert search.finish_reason == "budget"
