"""The scripted engine drives every call without a model; the expected texts are worked out by hand."""

import math

import pytest
import torch

from trimtab.engines.base import Engine, Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.sampling import gumbel_noise, row_keys
from trimtab.errors import InvalidPrompt, InvalidSetting, RewardMismatch, UnsupportedByEngine
from trimtab.language_model import LanguageModel
from trimtab.models.codec import TextCodec
from trimtab.models.usage import Usage
from trimtab.rewind.rewind_settings import RewindSettings
from trimtab.steering.reward import Reward, RewardState
from trimtab.testing import ScriptedEngine, WordCodec, WordReward

WORDS = ["I", "am", "very", "kind", "rude", "now."]
NEXT = {
    "I": {"am": 0.9, "very": 0.1},
    "am": {"very": 0.6, "rude": 0.3, "kind": 0.1},
    "very": {"rude": 0.7, "kind": 0.3},
    "rude": {"now.": 0.8, "<eos>": 0.2},
    "kind": {"now.": 0.6, "<eos>": 0.4},
    "now.": {"<eos>": 1.0},
}
SEARCH = RewindSettings(
    max_new_tokens=5, iterations=30, fresh_iterations=8, children=3, max_children=3, top_k=3, lengths=(1, 1, 1, 1)
)


def next_words(words):
    return NEXT[words[-1]]


def lm_with(*capabilities):
    return LanguageModel(ScriptedEngine(WordCodec(WORDS), next_words, frozenset(capabilities)))


@pytest.fixture
def words():
    return lm_with("score", "rewards")


@pytest.fixture
def kindness(words):
    return WordReward(words.engine.codec, {"kind": 1.0, "rude": 0.2})


def test_the_scripted_parts_keep_the_protocols(words, kindness):
    assert isinstance(words.engine, Engine)
    assert isinstance(words.engine.codec, TextCodec)
    assert isinstance(kindness, Reward)
    assert isinstance(kindness.start(), RewardState)


def test_greedy_text_follows_the_most_likely_words(words):
    written = words.generate("I", temperature=0, top_k=3)
    assert (written.text, written.finish_reason) == (" am very rude now.", "eos")
    assert [token.text for token in written.trace] == [" am", " very", " rude", " now.", ""]
    assert written.trace[1].choice.base_logprob == pytest.approx(math.log(0.6))


@pytest.mark.parametrize(
    ("options", "text", "reason"),
    [
        ({"max_new_tokens": 2}, " am very", "length"),
        ({"stop": "rude"}, " am very ", "stop"),
        ({"stop": ["now", "very rude"]}, " am ", "stop"),
    ],
)
def test_a_text_ends_at_its_length_or_a_stop_string(words, options, text, reason):
    written = words.generate("I", temperature=0, top_k=3, **options)
    assert (written.text, written.finish_reason) == (text, reason)


@pytest.mark.parametrize(("beta", "text"), [(0.5, " am very rude now."), (1.1, " am very kind now.")])
def test_steering_toward_kind_words_changes_the_text_at_the_computed_strength(words, kindness, beta, text):
    """After "very" kind needs β (1 − 0.2) > log(0.7 / 0.3), β > 1.06; after "am", β > log 6 = 1.79."""
    assert math.log(0.7 / 0.3) / 0.8 == pytest.approx(1.059, abs=1e-3)
    assert words.generate("I", kindness.toward(beta), temperature=0, top_k=3).text == text


def test_the_trace_shows_the_steered_probabilities(words, kindness):
    token = words.generate("am", kindness.toward(2.0), temperature=0, top_k=3).trace[0]
    weights = {"very": 0.6, "rude": 0.3 * math.exp(0.4), "kind": 0.1 * math.exp(2.0)}
    for candidate in token.candidates:
        expected = weights[candidate.text] / sum(weights.values())
        assert candidate.logprob == pytest.approx(math.log(expected), abs=1e-5)
    assert {candidate.text: candidate.rewards["words:worth"] for candidate in token.candidates} == pytest.approx(
        {"very": 0.0, "rude": 0.2, "kind": 1.0}
    )


def test_sampled_words_are_those_of_the_shared_noise(words):
    """Gumbel-max by hand: log p plus the noise of (key, step, token), for each of three samples."""
    codec = words.engine.codec
    params = SamplingParams(n=3, top_k=3, seed=11, max_new_tokens=6)
    written = words.generate("I", params=params)
    keys = row_keys([Request(codec.encode_prompt("I"), params)], torch.device("cpu"))
    for key, sample in zip(keys, written.samples, strict=True):
        text, step = ["I"], 0
        while text[-1] != "<eos>" and step < 6:
            choices = NEXT[text[-1]]
            ids = torch.tensor([[codec.words.index(word) for word in choices]])
            noise = gumbel_noise(key[None], torch.tensor([step]), ids)[0].tolist()
            values = [math.log(choices[word]) + each for word, each in zip(choices, noise, strict=True)]
            text.append(list(choices)[values.index(max(values))])
            step += 1
        assert sample.token_ids == [codec.words.index(word) for word in text[1:]]


def test_a_stream_gives_the_words_of_the_text(words, kindness):
    options = {"top_k": 3, "seed": 4, "max_new_tokens": 6}
    tokens = list(words.stream("I", kindness.toward(1.0), **options))
    written = words.generate("I", kindness.toward(1.0), **options)
    assert "".join(token.text for token in tokens) == written.text
    assert [token.finish_reason for token in tokens][-1] == written.finish_reason


def test_a_stream_asks_for_one_word_at_a_time(words):
    stream = words.stream("I", temperature=0, top_k=3)
    assert [next(stream).text for _ in range(2)] == [" am", " very"]
    assert words.engine.usage == Usage(2, 2)


def test_a_conversation_is_read_as_its_words(words):
    answer = words.chat([{"role": "user", "content": "I am"}], temperature=0, top_k=3)
    assert answer.text == " very rude now."


def test_best_of_keeps_the_draft_whose_last_word_is_worth_most(words):
    """Drafts of one word: the reward of a draft is the worth of that word."""
    worth = {"kind": 0.9, "rude": 0.5, "very": 0.1}
    reward = WordReward(words.engine.codec, worth)
    best = words.best_of("am", 40, by=reward.toward(2.0), max_new_tokens=1, top_k=3, seed=0)
    order = [draft.text.strip() for draft in best.drafts]
    assert order == sorted(order, key=lambda word: -worth[word])
    assert set(order) == worth.keys()
    assert list(best.scores) == pytest.approx([2 * worth[word] for word in order])


def test_a_search_takes_the_likely_rude_words_back(words):
    """Greedy writes "am very rude now."; the judge prefers texts without "rude"."""

    def polite(prompt, text):
        return 0.0 if "rude" in text else 1.0

    found = words.rewind("I", polite, settings=SEARCH, similarity="off", seed=0)
    assert "rude" not in found.text
    assert "kind" in found.text
    assert found.taken_back > 0
    assert found.usage.calls > 0
    assert words.engine.usage == found.usage


def test_a_constant_judge_commits_the_most_likely_words(words):
    settings = RewindSettings(**{**vars(SEARCH), "uniform": 0.0, "iterations": 60})
    found = words.rewind("I", lambda prompt, text: 0.5, settings=settings, similarity="off", seed=0)
    assert found.text == " am very rude now."


def test_scores_are_sums_of_log_probabilities(words):
    codec = words.engine.codec
    (scored,) = words.engine.score(
        [codec.encode_text("I am")], [[codec.encode_text("very kind"), codec.encode_text("rude")]]
    )
    assert scored.logprobs.tolist() == pytest.approx([math.log(0.6 * 0.3), math.log(0.3)], abs=1e-5)
    assert scored.greedy.tolist() == [False, False]
    (greedy,) = words.engine.score([codec.encode_text("I am")], [[codec.encode_text("very rude")]])
    assert greedy.greedy.tolist() == [True]


def test_states_count_the_words_so_far(words):
    codec = words.engine.codec
    (states,) = words.engine.states([codec.encode_text("I am I")], [2])
    assert states.tolist() == [[0, 1, 1, 0, 0, 0, 0], [0, 2, 1, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("capabilities", "call", "message"),
    [
        (["score", "rewards"], lambda lm: lm.rewind("I", settings=SEARCH, judge=str.count, similarity="lm"), "states"),
        (["rewards", "states"], lambda lm: lm.rewind("I", settings=SEARCH, judge="self"), "score"),
        (
            ["score", "states"],
            lambda lm: lm.best_of("I", 2, by=WordReward(lm.engine.codec, {}).toward(1.0)),
            "best-of-n needs an engine with rewards",
        ),
        (
            ["score", "states"],
            lambda lm: lm.rewind("I", judge=WordReward(lm.engine.codec, {}).toward(1.0), settings=SEARCH),
            "rewards",
        ),
    ],
)
def test_an_engine_without_a_capability_refuses_before_any_work(capabilities, call, message):
    asked = []

    def script(words):
        asked.append(words)
        return next_words(words)

    lm = LanguageModel(ScriptedEngine(WordCodec(WORDS), script, frozenset(capabilities)))
    with pytest.raises(UnsupportedByEngine, match=message):
        call(lm)
    assert asked == []


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda lm: lm.generate("I shout"), InvalidPrompt),
        (lambda lm: lm.generate(""), InvalidPrompt),
        (lambda lm: lm.generate("I", top_k=8), InvalidSetting),
        (lambda lm: lm.chat([{"role": "user", "content": "I"}]) and lm.engine.codec.render([]), InvalidSetting),
        (lambda lm: WordReward(lm.engine.codec, {}).check_serves("other"), RewardMismatch),
    ],
)
def test_bad_input_is_refused(words, call, error):
    with pytest.raises(error):
        call(words)
