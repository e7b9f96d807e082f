"""The requests that a writer sends, and what it makes of the answers: by hand, and on a tiny model."""

from dataclasses import replace

import pytest
import torch

from trimtab.engines.base import Choice, Continuation
from trimtab.models.usage import Usage
from trimtab.rewind import writer
from trimtab.rewind.rewind_settings import RewindSettings
from trimtab.rewind.search import NewBranch, Search, SearchRequest
from trimtab.rewind.writer import Writer

SETTINGS = RewindSettings(children=5, max_children=6, top_k=3)


class ListedEngine:
    """An engine that keeps the requests that it gets, and answers from a list."""

    capabilities = frozenset()
    usage = Usage()
    base = None

    def __init__(self, codec, answers):
        self.codec, self.answers, self.requests = codec, answers, []
        self.vocabulary_size = 64

    def sample(self, requests):
        self.requests += requests
        return [[Continuation(tuple(answer), "length")] for answer in self.answers[: len(requests)]]

    def describe(self):
        return {"engine": "listed"}

    def session(self):
        raise NotImplementedError

    stream = score = read = rewards = states = session


def chosen(token, probability):
    """A token of this probability among two candidates."""
    logprobs = torch.tensor([probability, 1 - probability]).log()
    return Choice(token, 0, torch.tensor([token, 63]), logprobs, logprobs, {})


@pytest.fixture(scope="module")
def codec(llama):
    return llama.codec


@pytest.fixture
def search(codec):
    return Search("w1", (5,), 0, 20, SETTINGS, codec.decode)


def below(search, *branches):
    """A node behind some branches, in the tree."""
    node = search.tree.root
    for tokens in branches:
        choices = tuple(chosen(token, 0.5) for token in tokens)
        child = node.child(tokens, 1.0)
        node.children.append(child)
        search.written[child] = NewBranch(choices, 1.0, None)
        node = child
    return node


def grown(engine, search, *wanted, settings=SETTINGS):
    """Run the writer; return the branches that it gives to each request."""
    branches = {}
    search.grow = branches.__setitem__
    Writer(engine, None, (), settings).write([(search, each) for each in wanted])
    return [branches[each] for each in wanted]


def test_branches_and_drafts_are_written_within_the_budget(codec, search):
    node = below(search, (7,))
    engine = ListedEngine(codec, [[chosen(8, 0.6), chosen(9, 0.5)], *[[chosen(10, 0.2), chosen(11, 0.5)]] * 4])
    grown(engine, search, SearchRequest("children", node), settings=replace(SETTINGS, max_kl=0.5))
    assert {request.params.max_kl for request in engine.requests} == {0.5}


def test_branches_are_the_greedy_one_and_the_distinct_samples(codec, search):
    node = below(search, (7,))
    greedy = [chosen(8, 0.6), chosen(9, 0.5)]
    samples = [
        [chosen(8, 0.6), chosen(9, 0.5)],  # the greedy one again
        [chosen(10, 0.2), chosen(11, 0.5)],
        [chosen(10, 0.2), chosen(11, 0.5)],
        [chosen(12, 0.1), chosen(13, 0.4)],
    ]
    engine = ListedEngine(codec, [greedy, *samples])
    wanted = SearchRequest("children", node)
    (children,) = grown(engine, search, wanted)
    assert [request.params.temperature for request in engine.requests] == [0, 1, 1, 1, 1]
    assert {(request.prefix, request.params.max_new_tokens) for request in engine.requests} == {((5, 7), 2)}
    assert len({request.params.seed for request in engine.requests[1:]}) == 4
    found = [(child.tokens, child.weight) for child in children]
    assert [tokens for tokens, _ in found] == [(8, 9), (10, 11), (12, 13)]
    # 0.3 is clamped to the sum of the samples' weights: largest 0.1 + smallest 0.04
    assert [weight for _, weight in found] == pytest.approx([0.14, 0.1, 0.04])


def test_an_unlikely_greedy_branch_gets_the_weight_of_the_best_and_the_worst_sample(codec, search):
    node = below(search, (7,))
    answers = [[chosen(8, 0.1), chosen(9, 0.1)], *([chosen(20 + i, 0.2), chosen(9, 0.5 + i / 10)] for i in range(4))]
    wanted = SearchRequest("children", node)
    (children,) = grown(ListedEngine(codec, answers), search, wanted)
    weights = [child.weight for child in children]
    assert weights == pytest.approx([0.16 + 0.1, 0.1, 0.12, 0.14, 0.16])


@pytest.mark.parametrize(("branches", "length"), [(1, 2), (2, 4), (3, 10), (4, 4)])
def test_branches_have_the_length_of_their_depth_up_to_the_token_limit(codec, search, branches, length):
    """The lengths are 1, 2, 4, then 10 tokens; the last text has room for 4 of 10."""
    node = below(search, *[(7,), (7, 8), (7, 8, 9, 10), tuple(range(10, 19))][:branches])
    engine = ListedEngine(codec, [[chosen(20 + i, 0.5)] for i in range(5)])
    Writer(engine, None, (), SETTINGS).write([(search, SearchRequest("children", node))])
    assert {request.params.max_new_tokens for request in engine.requests} == {length}


def test_widening_samples_one_more_branch(codec, search):
    node = below(search, (7,))
    engine = ListedEngine(codec, [[chosen(30, 0.5), chosen(31, 0.25)]])
    wanted = SearchRequest("another", node, 5)
    ((child,),) = grown(engine, search, wanted)
    assert (child.tokens, child.weight) == ((30, 31), pytest.approx(0.125))
    assert [request.params.temperature for request in engine.requests] == [1]


@pytest.mark.parametrize(
    ("kind", "number", "seeds"),
    [
        ("children", 0, [0, 54590789128231879, 56131056553930201, 61696828436493497, 10712038986133694]),  # 0: greedy
        ("another", 5, [46065440282971498]),
        ("another", 6, [53065515026948750]),
        ("draft", 0, [32717065336134364]),
    ],
)
def test_each_branch_and_draft_has_a_seed_of_its_own_which_is_that_of_every_release(codec, search, kind, number, seeds):
    engine = ListedEngine(codec, [[chosen(30 + i, 0.5)] for i in range(5)])
    wanted = SearchRequest(kind, below(search, (7,)), number)
    Writer(engine, None, (), SETTINGS).write([(search, wanted)])
    assert [request.params.seed for request in engine.requests] == seeds


def test_first_branches_are_the_most_probable_tokens(codec, search):
    logprobs = torch.tensor([0.1, 0.4, 0.2, 0.15, 0.09, 0.06]).log()
    step = Choice(20, 0, torch.arange(20, 26), logprobs, logprobs, {})
    wanted, another = SearchRequest("children", search.tree.root), SearchRequest("another", search.tree.root, 5)
    children, (widened,) = grown(ListedEngine(codec, [[step], [step]]), search, wanted, another)
    assert [child.tokens for child in children] == [(21,), (22,), (23,), (20,), (24,)]
    assert [child.weight for child in children] == pytest.approx([0.4, 0.2, 0.15, 0.1, 0.09])
    assert widened.tokens == (25,)


def test_a_draft_ends_with_a_sentence_and_a_finished_sentence_gets_no_draft(lm, monkeypatch):
    """Words that end in 1, 2 or 3 end a sentence here."""
    ends = ("1", "2", "3")
    monkeypatch.setattr(writer, "SENTENCE_ENDS", "".join(ends))
    settings = RewindSettings(max_new_tokens=12, iterations=30, draft_tokens=6, top_k=6, children=4)
    found = lm.rewind("w7 w8", lambda prompt, text: 0.5, settings=settings, similarity="off", seed=1)
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


def test_judged_texts_have_no_stop_string(lm):
    class Reader:
        name = "reader"

        def __init__(self):
            self.read = []

        def score(self, drafts, engine):
            self.read += drafts
            return [0.5] * len(drafts)

    judge = Reader()
    stops = [f"w{number}" for number in range(10, 40)]
    settings = RewindSettings(max_new_tokens=8, iterations=12, children=4)
    lm.rewind(["w1 w2", "w4"], judge, settings=settings, stop=stops, seed=0)
    assert len(judge.read) > 10
    assert any(not draft.text for draft in judge.read)
    for draft in judge.read:
        assert lm.engine.codec.decode(draft.token_ids).strip() == draft.text.strip()
        assert not any(stop in draft.text for stop in stops)
        assert all(length <= len(draft.token_ids) for length in draft.tail_lengths)


@pytest.mark.parametrize(("temperature", "weight"), [(0.5, 0.64 / (0.64 + 0.04)), (1e-310, 1.0)])
def test_weights_have_the_temperature_of_the_search(codec, search, temperature, weight):
    settings = RewindSettings(children=2, max_children=2, temperature=temperature)
    wanted = SearchRequest("another", below(search, (7,)), 1)
    ((branch,),) = grown(ListedEngine(codec, [[chosen(30, 0.8)]]), search, wanted, settings=settings)
    assert branch.weight == pytest.approx(weight)
