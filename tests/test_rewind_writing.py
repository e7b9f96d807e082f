"""What is asked of the engine for a search, and what becomes of the answers: by hand, and on a tiny model."""

import math

import pytest
import torch

from tiny import tiny_lm
from trimtab.engines.base import Choice, Continuation
from trimtab.lm import LanguageModel
from trimtab.rewind import writing
from trimtab.rewind.search import Search, Want, Written
from trimtab.rewind.settings import RewindSettings
from trimtab.rewind.writing import Writer

SETTINGS = RewindSettings(children=5, most_children=6, top_k=3)


class Scripted:
    """An engine that keeps what it is asked, and answers from a list."""

    def __init__(self, lm, answers):
        self.lm, self.memory, self.answers, self.requests = lm, None, answers, []

    def sample(self, requests, n, max_tokens, sampling, stop=()):
        self.requests += requests
        return [[Continuation(tuple(answer), "length")] for answer in self.answers[: len(requests)]]

    def score(self, prefixes, choices):
        raise NotImplementedError

    def states(self, texts, last):
        raise NotImplementedError

    def rewards(self, reward, texts):
        raise NotImplementedError


def chosen(token, probability):
    """A token of this probability among two candidates."""
    logprobs = torch.tensor([probability, 1 - probability]).log()
    return Choice(token, 0, torch.tensor([token, 63]), logprobs, logprobs, {})


@pytest.fixture(scope="module")
def lm():
    return tiny_lm("llama")


@pytest.fixture
def search(lm):
    return Search("w1", (5,), 0, 20, SETTINGS, lm.decode)


def below(search, *branches):
    """A node behind some branches, in the tree."""
    node = search.tree.root
    for tokens in branches:
        choices = tuple(chosen(token, 0.5) for token in tokens)
        child = node.child(tokens, 1.0)
        node.children.append(child)
        search.written[child] = Written(choices, 1.0, None)
        node = child
    return node


def test_branches_are_a_greedy_one_and_samples_each_once(lm, search):
    node = below(search, (7,))
    greedy = [chosen(8, 0.6), chosen(9, 0.5)]
    samples = [
        [chosen(8, 0.6), chosen(9, 0.5)],  # the greedy one again
        [chosen(10, 0.2), chosen(11, 0.5)],
        [chosen(10, 0.2), chosen(11, 0.5)],
        [chosen(12, 0.1), chosen(13, 0.4)],
    ]
    engine = Scripted(lm, [greedy, *samples])
    want = Want("children", node)
    Writer(lm, engine, None, (), SETTINGS).write([(search, want)])
    assert [request.greedy for request in engine.requests] == [True, False, False, False, False]
    assert {(request.prefix, request.limit) for request in engine.requests} == {((5, 7), 2)}
    assert len({request.seed for request in engine.requests[1:]}) == 4
    found = [(child.tokens, child.weight) for child in search._grown[want]]
    assert [tokens for tokens, _ in found] == [(8, 9), (10, 11), (12, 13)]
    # 0.3 is clamped to what the samples hold together: largest 0.1 + smallest 0.04
    assert [weight for _, weight in found] == pytest.approx([0.14, 0.1, 0.04])


def test_a_weak_greedy_branch_is_lifted(lm, search):
    node = below(search, (7,))
    answers = [[chosen(8, 0.1), chosen(9, 0.1)], *([chosen(20 + i, 0.2), chosen(9, 0.5 + i / 10)] for i in range(4))]
    want = Want("children", node)
    Writer(lm, Scripted(lm, answers), None, (), SETTINGS).write([(search, want)])
    weights = [child.weight for child in search._grown[want]]
    assert weights == pytest.approx([0.16 + 0.1, 0.1, 0.12, 0.14, 0.16])


@pytest.mark.parametrize(("branches", "length"), [(1, 2), (2, 4), (3, 10), (4, 4)])
def test_branches_lengthen_and_end_with_the_text(lm, search, branches, length):
    """1, 2, 4, then 10 tokens; the last text has room for 4 of them."""
    node = below(search, *[(7,), (7, 8), (7, 8, 9, 10), tuple(range(10, 19))][:branches])
    engine = Scripted(lm, [[chosen(20 + i, 0.5)] for i in range(5)])
    Writer(lm, engine, None, (), SETTINGS).write([(search, Want("children", node))])
    assert {request.limit for request in engine.requests} == {length}


def test_widening_asks_for_one_more(lm, search):
    node = below(search, (7,))
    engine = Scripted(lm, [[chosen(30, 0.5), chosen(31, 0.25)]])
    want = Want("another", node, 5)
    Writer(lm, engine, None, (), SETTINGS).write([(search, want)])
    (child,) = search._grown[want]
    assert (child.tokens, child.weight) == ((30, 31), pytest.approx(0.125))
    assert [request.greedy for request in engine.requests] == [False]


def test_first_branches_are_the_most_probable_tokens(lm, search):
    logprobs = torch.tensor([0.1, 0.4, 0.2, 0.15, 0.09, 0.06]).log()
    step = Choice(20, 0, torch.arange(20, 26), logprobs, logprobs, {})
    want, another = Want("children", search.tree.root), Want("another", search.tree.root, 5)
    Writer(lm, Scripted(lm, [[step], [step]]), None, (), SETTINGS).write([(search, want), (search, another)])
    assert [child.tokens for child in search._grown[want]] == [(21,), (22,), (23,), (20,), (24,)]
    assert [child.weight for child in search._grown[want]] == pytest.approx([0.4, 0.2, 0.15, 0.1, 0.09])
    assert [child.tokens for child in search._grown[another]] == [(25,)]


def test_drafts_end_with_a_sentence_and_none_follows_an_end(lm, monkeypatch):
    """Words that end in 1, 2 or 3 end a sentence here."""
    ends = ("1", "2", "3")
    monkeypatch.setattr(writing, "SENTENCE_ENDS", "".join(ends))
    settings = RewindSettings(max_new_tokens=12, iterations=30, draft_tokens=6, top_k=6, children=4)
    found = LanguageModel(lm).rewind("w7 w8", lambda prompt, text: 0.0, settings=settings, similarity="off", seed=1)
    judged = [branch for commit in found.commits for branch in _all(commit.branches) if branch.draft is not None]
    at_end = [branch.draft for branch in judged if branch.text.endswith(ends)]
    behind = [branch.draft.split() for branch in judged if not branch.text.endswith(ends)]
    assert at_end
    assert set(at_end) == {""}
    assert behind
    assert all(not word.endswith(ends) for words in behind for word in words[:-1])
    assert any(words and words[-1].endswith(ends) for words in behind)
    assert all(len(words) <= 6 for words in behind)


def _all(branches):
    for branch in branches:
        yield branch
        yield from _all(branch.children)


def test_what_is_judged_has_no_stop_string(lm):
    class Reads:
        name = "reads"

        def __init__(self):
            self.read = []

        def score(self, drafts, engine):
            self.read += drafts
            return [0.0] * len(drafts)

    judge = Reads()
    stops = [f"w{number}" for number in range(10, 40)]
    settings = RewindSettings(max_new_tokens=8, iterations=12, children=4)
    LanguageModel(lm).rewind(["w1 w2", "w4"], judge, settings=settings, stop=stops, seed=0)
    assert len(judge.read) > 10
    assert any(not draft.text for draft in judge.read)
    for draft in judge.read:
        assert lm.decode(draft.token_ids).strip() == draft.text.strip()
        assert not any(stop in draft.text for stop in stops)
        assert all(length <= len(draft.token_ids) for length in draft.tail_lengths)


def test_weights_are_at_the_temperature_of_the_search(lm, search):
    settings = RewindSettings(children=2, most_children=2, temperature=0.5)
    want = Want("another", below(search, (7,)), 1)
    Writer(lm, Scripted(lm, [[chosen(30, 0.8)]]), None, (), settings).write([(search, want)])
    assert search._grown[want][0].weight == pytest.approx(0.64 / (0.64 + 0.04))
    assert not math.isclose(search._grown[want][0].weight, 0.8)
