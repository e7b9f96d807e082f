"""Texts and scores that do not depend on their batch, in bfloat16."""

import copy

import pytest
import torch

import trimtab
from tiny import tiny_reward
from trimtab.engines.base import Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.engine import TorchEngine
from trimtab.language_model import LanguageModel
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.loading import load_frozen_lm
from trimtab.testing import assert_joining_changes_nothing

WORDS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9", "w10 w11", "w20 w21 w22 w23"]
STARTS = [
    "The new neighbours are",
    "My boss said that",
    "I never liked",
]
ENDS = ["", " very", " always, and I mean it when I say that,", " a bit of"]
PROMPTS = [start + end for start in STARTS for end in ENDS]


@pytest.fixture(scope="module")
def tiny_bfloat(llama):
    return FrozenLM(copy.deepcopy(llama.model).to(torch.bfloat16), llama.tokenizer, "tiny-bfloat16")


@pytest.fixture(scope="module")
def engine(tiny_bfloat):
    return TorchEngine(tiny_bfloat, batch_invariant=True)


@pytest.fixture(scope="module", params=["q", "v"])
def steer(request, tiny_bfloat):
    return tiny_reward(tiny_bfloat, request.param).toward(6.0)


def requests_of(engine, prompts, steer, **options):
    params = SamplingParams(**{"seed": 0, "max_new_tokens": 8, "top_k": 5, **options})
    return [Request(engine.codec.encode_prompt(prompt), params, steer) for prompt in prompts]


def logprobs(continuations):
    return [[choice.logprob for choice in each.choices] for each in continuations]


def test_a_row_has_the_same_bits_alone_and_in_a_batch(engine, steer):
    """Not the tokens alone: every log-probability is equal."""
    requests = requests_of(engine, WORDS, steer, n=2)
    together = engine.sample(requests)
    for request, found in zip(requests, together, strict=True):
        assert logprobs(engine.sample([request])[0]) == logprobs(found)


def test_a_sample_has_the_same_bits_whatever_n_is(engine, steer):
    (three,) = engine.sample(requests_of(engine, WORDS[:1], steer, n=3))
    (one,) = engine.sample(requests_of(engine, WORDS[:1], steer, n=1))
    assert logprobs(one) == logprobs(three[:1])


def test_a_session_changes_no_bits(engine, steer):
    session = engine.session()
    assert session.batch_invariant
    assert session.prefix_cache is None
    requests = requests_of(engine, WORDS, steer)
    expected = [logprobs(each) for each in engine.sample(requests)]
    for _ in range(2):
        assert [logprobs(each) for each in session.sample(requests)] == expected


def test_scores_rewards_and_states_have_the_same_bits_alone_and_in_a_batch(engine, steer, tiny_bfloat):
    ids = [engine.codec.encode_prompt(prompt) for prompt in WORDS]
    continuations = [[[5, 6], [7]], [[8]], [[9, 10, 11]], [[12]], [[13], [14, 15]]]
    for steering in (None, steer):
        together = engine.score(ids, continuations, steering, 5)
        for row, found in enumerate(together):
            for place, continuation in enumerate(continuations[row]):
                (alone,) = engine.score([ids[row]], [[continuation]], steering, 5)
                assert torch.equal(alone.logprobs, found.logprobs[place : place + 1])
                assert torch.equal(alone.greedy, found.greedy[place : place + 1])
    texts = [[*each, 5] for each in ids]
    reward = steer.terms[0].reward
    alone = torch.cat([engine.rewards(reward, [text]) for text in texts])
    assert torch.equal(alone, engine.rewards(reward, texts))
    together = engine.states(texts, [1] * len(texts))
    for text, found in zip(texts, together, strict=True):
        assert torch.equal(engine.states([text], [1])[0], found)


def test_in_float32_the_mode_writes_the_texts_of_the_plain_engine(llama, lm):
    reward = tiny_reward(llama, "q")
    ours = LanguageModel(TorchEngine(llama, batch_invariant=True))
    options = {"seed": 1, "max_new_tokens": 8, "n": 2, "stop": "w7"}
    for found, expected in zip(
        ours.generate(WORDS, reward.toward(5.0), **options),
        lm.generate(WORDS, reward.toward(5.0), **options),
        strict=True,
    ):
        assert [each.token_ids for each in found.samples] == [each.token_ids for each in expected.samples]


def test_a_row_that_joins_has_the_text_of_a_row_alone(engine, steer):
    """The public law, which in bfloat16 needs the mode."""
    assert_joining_changes_nothing(engine, requests_of(engine, WORDS, steer), steps_before=2)


def test_the_mode_is_part_of_the_engine_s_description(engine, tiny_bfloat):
    assert engine.describe()["engine"] == "torch, batch-invariant"
    assert TorchEngine(tiny_bfloat).describe()["engine"] == "torch"


@pytest.fixture(scope="module")
def bfloat():
    return load_frozen_lm("smollm2", dtype=torch.bfloat16)


def texts_in_one_batch(lm, prompts, steer=None):
    return [each.token_ids for each in lm.generate(prompts, steer, seed=0, max_new_tokens=8)]


def texts_alone(lm, prompts, steer=None):
    return [lm.generate(prompt, steer, seed=0, max_new_tokens=8).token_ids for prompt in prompts]


@pytest.mark.long
@pytest.mark.slow
def test_smollm2_in_bfloat16_has_the_same_bits_alone_and_in_a_batch_in_this_mode_only(bfloat):
    plain, invariant = TorchEngine(bfloat), TorchEngine(bfloat, batch_invariant=True)
    requests = requests_of(plain, PROMPTS[:6], None, max_new_tokens=4)
    alone = [logprobs(plain.sample([request])[0]) for request in requests]
    assert [logprobs(each) for each in invariant.sample(requests)] == alone
    assert [logprobs(each) for each in plain.sample(requests)] != alone


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("reward", ["sentiment", "sentiment-own"])
def test_steered_smollm2_in_bfloat16_writes_the_same_texts_alone_and_in_a_batch(bfloat, reward):
    lm = LanguageModel(TorchEngine(bfloat, batch_invariant=True))
    steer = trimtab.reward(reward, lm).toward(20.0)
    assert texts_in_one_batch(lm, PROMPTS[:3], steer) == texts_alone(lm, PROMPTS[:3], steer)


def test_each_sample_is_encoded_once_and_alone(tiny_bfloat):
    engine = TorchEngine(tiny_bfloat, batch_invariant=True)
    request = Request([5, 6, 7], SamplingParams(n=6, max_new_tokens=4, seed=3))
    (samples,) = engine.sample([request])
    assert len({tuple(each.token_ids) for each in samples}) > 1
    assert engine.usage.tokens <= 6 * (3 + 3)
    plain = TorchEngine(FrozenLM(copy.deepcopy(tiny_bfloat.model).float(), tiny_bfloat.tokenizer, "tiny-float32"))
    exact = TorchEngine(plain.base, batch_invariant=True)
    texts = [[each.token_ids for each in found.sample([request])[0]] for found in (plain, exact)]
    assert texts[0] == texts[1]


def test_a_loaded_model_may_be_batch_invariant(tiny_bfloat):
    lm = trimtab.from_transformers(tiny_bfloat.model, tiny_bfloat.tokenizer, batch_invariant=True)
    assert lm.engine.describe()["engine"] == "torch, batch-invariant"
