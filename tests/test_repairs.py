"""Critical sampling: what is kept of a failing program, and that repairs lead to a passing one."""

import pytest

from trimtab import errors
from trimtab.engines.sampling_params import SamplingParams
from trimtab.judges.draft import Draft
from trimtab.judges.sandbox import Outcome, Report
from trimtab.judges.unit_tests import UnitTests
from trimtab.language_model import LanguageModel
from trimtab.testing.scripted_engine import ScriptedEngine, WordCodec

WORDS = ["go=0", "x=1", "y=x/0", "y=x+1", "y=3"]
OPTIONS = {"top_k": 6, "max_new_tokens": 3}


class LineCodec(WordCodec):
    """Each word is a line."""

    def decode(self, ids):
        return "".join(f"{self.words[token]}\n" for token in ids if token not in self.eos_token_ids)


class WatchedEngine(ScriptedEngine):
    """Keeps the requests that it gets."""

    def __init__(self, codec, next_words):
        super().__init__(codec, next_words)
        self.seen = []

    def session(self):
        return self

    def sample(self, requests):
        self.seen.append(list(requests))
        return super().sample(requests)


def next_words(written):
    """x = 1, then an error, a wrong answer or the right one, then the end."""
    if written[-1] == "go=0":
        return {"x=1": 1.0}
    return {"y=x/0": 0.5, "y=3": 0.3, "y=x+1": 0.2} if written[-1] == "x=1" else {"<eos>": 1.0}


@pytest.fixture
def engine():
    return WatchedEngine(LineCodec(WORDS), next_words)


@pytest.fixture
def tests():
    return UnitTests("assert y == 2")


def seed_of(engine, text):
    """A seed whose draft is this text."""
    lm = LanguageModel(ScriptedEngine(engine.codec, next_words))
    return next(seed for seed in range(99) if lm.generate("go=0\n", seed=seed, **OPTIONS).text == text)


def test_an_error_is_rewritten_from_its_line(engine, tests):
    seed = seed_of(engine, "x=1\ny=x/0\n")
    found = LanguageModel(engine).best_of("go=0\n", 1, by=tests, repairs=30, seed=seed, **OPTIONS)
    assert found.scores[0] == 1.0
    assert found.text == "x=1\ny=x+1\n"
    assert found.drafts[0].token_ids == [*engine.codec.encode_text("x=1 y=x+1"), 0]
    first, second, *_ = engine.seen
    assert list(first[0].prefix) == engine.codec.encode_text("go=0")
    assert second[0].prefix == first[0].prefix
    assert second[0].written == tuple(engine.codec.encode_text("x=1"))  # the line before the error is kept
    assert second[0].params.max_new_tokens == 2
    assert second[0].params.seed != first[0].params.seed
    assert [draft.sample for draft in found.drafts] != [0] * len(found.drafts)


def test_a_wrong_answer_is_rewritten_as_a_whole(engine, tests):
    seed = seed_of(engine, "x=1\ny=3\n")
    LanguageModel(engine).best_of("go=0\n", 1, by=tests, repairs=1, seed=seed, **OPTIONS)
    assert list(engine.seen[1][0].prefix) == engine.codec.encode_text("go=0")
    assert engine.seen[1][0].written == ()


def test_a_stop_string_may_begin_in_what_is_kept(engine, tests):
    seed = seed_of(engine, "x=1\ny=x/0\n")
    found = LanguageModel(engine).best_of(
        "go=0\n", 1, by=tests, repairs=1, seed=seed, stop=["1\ny=x+", "1\ny=3"], **OPTIONS
    )
    rewritten = next(draft for draft in found.drafts if draft.sample == 1)
    assert (rewritten.text, rewritten.finish_reason) == ("x=", "stop")


def test_a_draft_without_a_token_to_write_again_is_rewritten_as_a_whole(engine, tests, monkeypatch):
    """As a draft that its limit ends behind `def f():`, whose error is in the line that would follow."""
    monkeypatch.setattr(UnitTests, "place_of", lambda self, draft, report: len(draft.text))
    seed = seed_of(engine, "x=1\ny=x/0\n")
    found = LanguageModel(engine).best_of(
        "go=0\n", 1, by=tests, repairs=1, seed=seed, **OPTIONS | {"max_new_tokens": 2}
    )
    again = engine.seen[1][0]
    assert (again.written, again.params.max_new_tokens, len(found.drafts)) == ((), 2, 2)


def test_what_passes_is_left_alone_and_other_prompts_are_not(engine, tests):
    good, bad = (seed_of(engine, text) for text in ("x=1\ny=x+1\n", "x=1\ny=x/0\n"))
    lm = LanguageModel(engine)
    lm.best_of("go=0\n", 1, by=tests, repairs=5, seed=good, **OPTIONS)
    assert len(engine.seen) == 1
    params = [SamplingParams(seed=seed, **OPTIONS) for seed in (good, bad)]
    both = lm.best_of(["go=0\n", "go=0\n"], 1, by=tests, params=params, repairs=1)
    assert [len(each.drafts) for each in both] == [1, 2]


def test_a_repair_does_not_depend_on_other_prompts(engine, tests):
    params = SamplingParams(seed=seed_of(engine, "x=1\ny=x/0\n"), **OPTIONS)
    lm = LanguageModel(engine)
    alone = lm.best_of("go=0\n", 1, by=tests, params=params, repairs=3)
    engine.seen.clear()
    first, second = lm.best_of(["go=0\n"] * 2, 1, by=tests, params=params, repairs=3)
    seeds = [[request.params.seed for request in requests] for requests in engine.seen]
    assert len(alone.drafts) > 1
    assert all(one == other for one, other in seeds)
    for each in (first, second):
        assert [draft.text for draft in each.drafts] == [draft.text for draft in alone.drafts]


def test_each_repair_has_a_seed_of_its_own_which_is_that_of_every_release(engine):
    LanguageModel(engine).best_of("go=0\n", 2, by=UnitTests("assert False"), repairs=2, seed=7, **OPTIONS)
    seeds = [[request.params.seed for request in requests] for requests in engine.seen]
    assert seeds == [[7], [35502615371903276, 65887048169471746], [30972669745138466, 6561607071479189]]


def test_no_repairs_is_best_of_n(engine, tests):
    lm = LanguageModel(engine)
    plain, none = (lm.best_of("go=0\n", 4, by=tests, seed=3, **OPTIONS, **given) for given in ({}, {"repairs": 0}))
    assert [draft.text for draft in plain.drafts] == [draft.text for draft in none.drafts]


@pytest.mark.parametrize(
    ("text", "prompt", "line", "place"),
    [
        ("    a = 1\n    return a / 0\n", "def f():\n", 3, 10),
        ("    a = 1\n", "def f():\n    x = (\n", 2, 0),  # the line is in the prompt
        ("Here:\n```python\na = 1\nb = 1 / 0\n```", "Write it.", 2, 22),
        ("a = 1\n", "", None, 0),
        ("a = '\u2028\x85\x1c'\n\x0cb = 1 / 0\n", "", 2, 10),  # not all that splits lines splits source
        ("a = 1\r\nb = 2\rc = 1 / 0", "", 3, 13),
        ("def f():\n", "", 2, 9),
        ("def f():", "", 2, 0),
    ],
)
def test_the_place_of_an_error(tests, text, prompt, line, place):
    draft = Draft(prompt, (), (), text)
    assert tests.place_of(draft, Report(Outcome.RUNTIME_ERROR, "", line)) == place


def test_what_cannot_be_repaired_is_refused(engine, tests):
    lm = LanguageModel(engine)
    with pytest.raises(errors.InvalidSetting, match=r"expected at least 0, and by=trimtab\.judges\.UnitTests"):
        lm.best_of("go=0\n", 1, by=tests, repairs=-1, **OPTIONS)
    with pytest.raises(errors.InvalidSetting, match="a greedy text repeats its error"):
        lm.best_of("go=0\n", 1, by=tests, repairs=1, temperature=0.0, **OPTIONS)
