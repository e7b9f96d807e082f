"""The loops of a search without a model: the test answers every request."""

import numpy as np
import pytest
import torch

from trimtab.engines.base import Choice
from trimtab.judges.draft import Draft
from trimtab.rewind.judged_draft import JudgedDraft
from trimtab.rewind.rewind_settings import RewindSettings
from trimtab.rewind.search import NewBranch, Search

FEW = RewindSettings(iterations=6, fresh_iterations=2, min_visits=100, children=2, max_children=2, lengths=(1,) * 4)


def choice_of(token):
    zero = torch.zeros(1)
    return Choice(token, 0, torch.tensor([token]), zero, zero, {})


def drive(search, score):
    """Answer every request, and return the number of judged drafts.

    Each node gets the children 1 and 2. A draft is its branch alone, and its embedding is its depth.
    """
    judged = 0
    while pending := search.pending():
        for request in pending:
            if request.kind == "draft":
                path = request.node.path()[1:]
                tokens = tuple(token for node in path for token in node.tokens)
                choices = search.choices + tuple(map(choice_of, tokens))
                embeddings = tuple(np.array([float(node.depth), 1.0]) for node in path)
                draft = Draft("", (), tokens, "")
                search.judged[request.node] = JudgedDraft(
                    draft, score(search.token_ids + tokens), choices, "", embeddings
                )
                judged += 1
            else:
                search.grow(
                    request, [NewBranch((choice_of(token),), weight, None) for token, weight in ((1, 0.6), (2, 0.4))]
                )
    return judged


def searched(settings, limit, score, max_iterations=None):
    """Return a finished search of at most `limit` tokens, and the number of judged drafts."""
    search = Search("", (0,), 0, limit, settings, str, max_iterations)
    grow = search.grow

    def grow_within_limit(request, children):
        length = len(search.choices) + len(request.node.path())
        grow(request, [NewBranch(c.choices, c.weight, "length" if length >= limit else None) for c in children])

    search.grow = grow_within_limit
    return search, drive(search, score)


def test_a_commit_needs_the_set_iterations_including_inherited_ones():
    search, _ = searched(FEW, 5, lambda tokens: 1.0 if tokens[-1:] == (2,) else -1.0)
    assert search.commits[0].visits == 6
    for before, after in zip(search.commits, search.commits[1:], strict=False):
        inherited = next(branch.visits for branch in before.branches if branch.kept)
        assert after.visits == inherited + max(6 - inherited, 2)
    assert search.token_ids == (2,) * 5


def test_a_good_branch_is_committed_early():
    settings = RewindSettings(**{**vars(FEW), "iterations": 50, "min_visits": 3})
    search, _ = searched(settings, 1, lambda tokens: 1.0)
    (kept,) = (branch for branch in search.commits[0].branches if branch.kept)
    assert (kept.visits, kept.value) == (4, 1.0)
    assert search.commits[0].visits < 50
    search, _ = searched(settings, 1, lambda tokens: 0.8)  # not above min_value
    assert search.commits[0].visits == 50


def test_each_node_gets_the_embeddings_of_its_own_depth():
    """This includes drafts that were judged ahead of need, before a commit moved the root."""
    search = Search("", (0,), 0, 6, RewindSettings(**{**vars(FEW), "iterations": 20}), str, 60)
    drive(search, lambda tokens: 0.5 if tokens[-1:] == (1,) else -0.5)
    assert search.commits
    embedded = [node for node in search.tree.root.subtree() if node.embedding is not None]
    assert max(node.depth for node in embedded) > len(search.commits)
    assert all(node.embedding[0] == node.depth for node in embedded)
    assert all(node.embedding is not None for node in search.tree.root.subtree() if node.real_visits and node.parent)


@pytest.mark.parametrize("budget", [1, 2, 5, 8])
def test_a_budget_of_iterations_is_not_exceeded(budget):
    search, judged = searched(FEW, 50, lambda tokens: 0.0, budget)
    assert search.iterations == budget
    assert judged <= budget
    assert search.finish_reason == "budget"
