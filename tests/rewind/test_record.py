"""The record of a commit: what it copies from the tree, and how many drafts it counts as taken back."""

import pytest

from search_results import branch, commit, early_end
from trimtab.judges.draft import Draft
from trimtab.rewind.judged_draft import JudgedDraft
from trimtab.rewind.record import record_commit
from trimtab.rewind.rewind_settings import RewindSettings
from trimtab.rewind.tree import Tree


def words(ids):
    return "".join(f" w{token}" for token in ids)


@pytest.fixture
def searched():
    """Return a tree with two judged children and one child that was never visited, and the judged drafts."""
    tree = Tree(RewindSettings(uniform=0.0))
    kept, rejected, _ = (tree.root.add_child([token], weight) for token, weight in ((1, 3.0), (2, 1.0), (3, 1.0)))
    judged = {}
    for node, path, score in ((tree.root, [], 0.25), (kept, [kept], 1.0), (rejected, [rejected], -0.123456)):
        tree.backup([tree.root, *path], score)
        judged[node] = JudgedDraft(Draft("", (), (), "", ()), score, (), words([7, *node.tokens]))
    tree.backup([tree.root, kept], 0.5)
    return tree, judged, kept


def test_a_commit_records_the_visited_children_most_visited_first(searched):
    tree, judged, kept = searched
    recorded = record_commit(tree, judged, words, kept, final=False)
    assert (recorded.text, recorded.visits, recorded.final) == (" w1", 4, False)
    assert recorded.value == pytest.approx((0.25 + 1.0 - 0.123456 + 0.5) / 4, abs=1e-4)
    assert (recorded.draft, recorded.score) == (" w7", 0.25)
    assert [(each.text, each.visits, each.kept) for each in recorded.branches] == [(" w1", 2, True), (" w2", 1, False)]
    assert [(each.prior, each.value, each.score) for each in recorded.branches] == [
        (0.6, 0.75, 1),
        (0.2, -0.1235, -0.1235),
    ]


def test_a_final_commit_ends_with_the_draft_of_the_kept_branch(searched):
    tree, judged, kept = searched
    recorded = record_commit(tree, judged, words, kept, final=True)
    assert (recorded.text, recorded.final) == (" w1 w7 w1", True)


def test_drafts_below_branches_that_were_not_kept_are_taken_back():
    below = [branch(" b", children=[branch(" c")]), branch(" d", draft=None, score=None)]
    assert commit(branch(" a", kept=True, children=[branch(" x")]), *below).taken_back == 2
    assert early_end().taken_back == 2  # " vile" below a kept branch, and " bad"
