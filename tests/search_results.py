"""Search results written by hand: branches, commits and the results that hold them."""

from trimtab.models.usage import Usage
from trimtab.rewind.record import Branch, Commit
from trimtab.rewind.result import SearchResult
from trimtab.rewind.rewind_settings import RewindSettings
from trimtab.rewind.search import Search


def branch(text, value=0.0, kept=False, draft=" and so on.", score=0.0, visits=1, children=()):
    """Return a branch with a draft."""
    return Branch(text, 0.25, visits, value, draft, score, kept, tuple(children))


def commit(*branches, text=None):
    """Return a commit of the kept branch, or of another text."""
    committed = text or next(each.text for each in branches if each.kept)
    return Commit(committed, sum(each.visits for each in branches), 0.125, branches)


def subtree(branches):
    """Yield branches and all branches below them, depth first."""
    for each in branches:
        yield each
        yield from subtree(each.children)


def search_result(codec, commits, text=None, prompt="You are", reason="eos", iterations=7, provenance=None):
    """Return the result of a search with these commits; the text is theirs, joined, unless given."""
    search = Search("w1", (5,), 0, 9, RewindSettings(), codec.decode)
    search.finish_reason, search.iterations, search.commits = reason, iterations, list(commits)
    result = SearchResult(codec, prompt, search, (), Usage(12345, 67), 8.91, lambda: provenance or {})
    result.generation.text = "".join(each.text for each in commits) if text is None else text
    return result


def two_commits():
    """Return two commits: " kind" with a kept, an undecided and two rejected branches, then " people."."""
    undecided = branch(" and helpful", 0.9, draft=" people", score=0.9)
    deeper = branch(" awful", -1.0, draft=" and loud", score=-1.0)
    return [
        commit(
            branch(" kind", 0.8, kept=True, draft=" to us", score=0.75, visits=5, children=[undecided]),
            branch(" so", -0.6, draft=" stupid", score=-0.25, visits=3, children=[deeper]),
        ),
        commit(branch(" people.", 0.5, kept=True, draft="", score=0.5)),
    ]


def early_end():
    """Return a commit that a budget ended: its best draft is below the second of two kept branches."""
    deep = branch(" kind", 1.0, kept=True, draft=" people", score=1.0)
    branches = (branch(" so", visits=2, kept=True, children=[deep, branch(" vile", -1.0)]), branch(" bad", -1.0))
    return Commit(" so kind people", 3, 0.125, branches, final=True)
