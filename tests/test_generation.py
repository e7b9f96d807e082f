import copy
import json
import math
import pickle

import pytest
import torch

import trimtab
from tiny import tiny_lm, tiny_reward
from tiny_chat import chat_lm
from trimtab.engines.base import Chunk, Continuation, Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.engine import TorchEngine
from trimtab.generation import Generation, stream_tokens
from trimtab.language_model import LanguageModel
from trimtab.rewind.rewind_settings import RewindSettings


def streamed(lm, prompt, steer=None, **options):
    return list(lm.stream(prompt, steer, **options))


@pytest.mark.parametrize("seed", range(4))
def test_streamed_tokens_joined_are_the_generated_text(lm, seed):
    steer = tiny_reward(lm.base, "v").toward(3.0)
    tokens = streamed(lm, "w1 w2", steer, max_new_tokens=9, seed=seed, top_k=6)
    whole = lm.generate("w1 w2", steer, max_new_tokens=9, seed=seed, top_k=6)
    assert "".join(token.text for token in tokens) == whole.text
    assert [token.token_id for token in tokens] == whole.token_ids
    assert [token.finish_reason for token in tokens] == [None] * (len(tokens) - 1) + [whole.finish_reason]


def test_a_stop_string_ends_the_text_and_is_not_part_of_it(lm):
    plain = lm.generate("w1 w2", temperature=0, max_new_tokens=12, top_k=5)
    stop = plain.text[len(plain.text) // 2 :][:4]
    for text in (
        (stopped := lm.generate("w1 w2", temperature=0, max_new_tokens=12, top_k=5, stop=[stop])).text,
        "".join(token.text for token in streamed(lm, "w1 w2", temperature=0, max_new_tokens=12, top_k=5, stop=[stop])),
    ):
        assert text == plain.text[: plain.text.index(stop)]
    assert stopped.finish_reason == "stop"
    assert len(stopped.token_ids) < len(plain.token_ids)


def test_one_stop_string_equals_a_list_of_it(lm):
    options = {"temperature": 0, "max_new_tokens": 12, "top_k": 5}
    plain = lm.generate("w1 w2", **options)
    stop = plain.text[len(plain.text) // 2 :][:4]
    assert lm.generate("w1 w2", stop=stop, **options).text == lm.generate("w1 w2", stop=[stop], **options).text != ""


def test_the_trace_has_the_candidates_of_each_token_and_their_rewards(lm):
    reward = tiny_reward(lm.base, "q")
    written = lm.generate("w1 w2", reward.toward(3.0), max_new_tokens=4, top_k=5, seed=1)
    assert len(written.trace) == len(written.token_ids)
    for token in written.trace:
        assert len(token.candidates) == 5
        (chosen,) = [candidate for candidate in token.candidates if candidate.chosen]
        assert chosen.token_id == token.token_id
        assert chosen.rewards == token.rewards
        assert sum(math.exp(candidate.logprob) for candidate in token.candidates) == pytest.approx(1, abs=1e-4)
        assert set(token.rewards) == {"tiny-q:kind", "tiny-q:calm"}
    mean = sum(token.rewards["tiny-q:kind"] for token in written.trace) / len(written.trace)
    assert written.mean_rewards["tiny-q:kind"] == pytest.approx(mean)
    assert len(str(written.trace).split("\n")) == len(written.trace)


def test_the_trace_says_how_much_of_a_budget_was_spent(lm):
    steer = tiny_reward(lm.base, "q").toward(9.0)
    options = {"max_new_tokens": 6, "top_k": 5, "seed": 1}
    limited = lm.generate("w1 w2", steer, max_kl=0.1, **options)
    rows = [token.as_dict() for token in limited.trace]
    assert all(row["kl"] <= 0.1 + 1e-5 for row in rows)
    assert any(0 < row["scale"] < 1 for row in rows)
    assert "KL=0.10 (×0." in str(limited.trace)
    free = lm.generate("w1 w2", steer, **options)
    assert max(token.as_dict()["kl"] for token in free.trace) > 0.1
    assert {token.as_dict()["scale"] for token in free.trace} == {1.0}
    plain = lm.generate("w1 w2", **options)
    assert {(token.choice.kl, token.choice.scale) for token in plain.trace} == {(0.0, 1.0)}
    assert "KL" not in str(plain.trace)


@pytest.mark.parametrize("trunk", ["lora", "frozen"])
def test_a_row_shows_only_the_rewards_that_steer_it(lm, trunk):
    reward = tiny_reward(lm.base, "q", trunk, bos_token_id=None)
    steered, plain = lm.generate(["w1", "w2"], [reward.toward(1.0), None], max_new_tokens=2, seed=0)
    assert steered.trace[0].rewards
    assert not plain.trace[0].rewards


def test_a_continuation_without_tokens_has_an_empty_trace(llama):
    """A search that is interrupted before its first draft ends with one."""
    empty = Generation(llama.codec, "w1", [Continuation((), "interrupted")])
    assert (empty.text, empty.token_ids) == ("", [])
    assert len(empty.trace) == 0
    assert empty.mean_rewards == {}


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1, 1), (2, 3), (5,), (4, 1)])
def test_chunks_of_any_size_stream_the_same_tokens(lm, sizes):
    (continuation,) = lm.engine.sample([request_of("w1 w2", max_new_tokens=5)])[0]
    choices = iter(continuation.choices)
    parts = [tuple(next(choices) for _ in range(size)) for size in sizes]
    reasons = [None] * (len(parts) - 1) + [continuation.finish_reason]
    chunks = iter([Chunk(0, 0, part, reason) for part, reason in zip(parts, reasons, strict=True)])
    tokens = list(stream_tokens(lm.engine.codec, chunks, ()))
    assert "".join(token.text for token in tokens) == lm.engine.codec.decode(continuation.token_ids)
    assert [token.finish_reason for token in tokens] == [None] * 4 + ["length"]


def request_of(prompt, **params):
    return Request([4 + int(word[1:]) for word in prompt.split()], SamplingParams(seed=0, **params))


def test_a_generation_says_what_made_it(lm):
    """Enough to write it again: model, weights, rewards, sampling with the seed, dtype, device and versions."""
    steer = tiny_reward(lm.base, "q").away(3.0, "calm")
    generation = lm.generate("w1 w2", steer, n=2, top_k=5, max_new_tokens=3)
    made_by = generation.provenance
    assert made_by["base_fingerprint"] == lm.base.base_fingerprint
    assert (made_by["dtype"], made_by["device"], made_by["trimtab"]) == ("float32", "cpu", trimtab.__version__)
    (term,) = made_by["steer"]
    assert (term["attribute"], term["direction"], term["beta"]) == ("calm", "away", 3.0)
    assert term["fingerprint"] == steer.terms[0].reward.fingerprint
    again = lm.generate("w1 w2", steer, **made_by["sampling"])
    assert [sample.token_ids for sample in again.samples] == [sample.token_ids for sample in generation.samples]
    assert [sample.provenance for sample in generation.samples] == [made_by, made_by]
    assert [sample.sample for sample in generation.samples] == [0, 1]


def test_the_fingerprint_tells_rewards_of_one_name_apart(lm):
    first, second = (
        lm.generate("w1", tiny_reward(lm.base, "q", seed=seed).toward(1), max_new_tokens=1) for seed in (0, 1)
    )
    names = [[term["reward"] for term in each.provenance["steer"]] for each in (first, second)]
    prints = [[term["fingerprint"] for term in each.provenance["steer"]] for each in (first, second)]
    assert names[0] == names[1]
    assert prints[0] != prints[1]


def test_a_dictionary_holds_the_whole_trace_and_is_json(lm):
    steer = tiny_reward(lm.base, "q").toward(3.0)
    generation = lm.generate("w1 w2", steer, top_k=5, max_new_tokens=4, seed=1)
    found = json.loads(json.dumps(generation.as_dict(), allow_nan=False))
    assert (found["prompt"], found["text"], found["token_ids"]) == ("w1 w2", generation.text, generation.token_ids)
    assert [token["token_id"] for token in found["trace"]] == generation.token_ids
    for token, written in zip(found["trace"], generation.trace, strict=True):
        assert len(token["candidates"]) == 5
        (chosen,) = [each for each in token["candidates"] if each["chosen"]]
        assert chosen["token_id"] == token["token_id"]
        assert token["logprob"] == written.choice.logprob
        assert set(token["rewards"]) == {"tiny-q:kind", "tiny-q:calm"}
    assert found["provenance"]["sampling"]["seed"] == 1


def test_a_conversation_is_kept_as_messages_in_the_dictionary():
    lm = LanguageModel(TorchEngine(chat_lm()))
    messages = [{"role": "user", "content": "w1"}]
    found = lm.chat(messages, max_new_tokens=2).as_dict()
    assert found["messages"] == messages
    assert "prompt" not in found


@pytest.mark.parametrize("copied", [lambda each: pickle.loads(pickle.dumps(each)), copy.deepcopy])
def test_a_pickled_generation_keeps_its_trace(lm, copied):
    steer = tiny_reward(lm.base, "q").toward(3.0)
    generation = lm.generate("w1 w2", steer, n=2, top_k=6, top_p=0.7, max_new_tokens=5)
    again = copied(generation)
    assert again.as_dict() == generation.as_dict()
    assert str(again.trace) == str(generation.trace)
    assert [sample.text for sample in again.samples] == [sample.text for sample in generation.samples]
    kept, original = again.trace[0].choice, generation.trace[0].choice
    assert kept.steered_logprobs.equal(original.steered_logprobs)
    assert kept.candidates.dtype == original.candidates.dtype


def test_a_pickled_generation_keeps_its_visible_tokens(lm):
    written = lm.generate("w1", max_new_tokens=8, seed=0)
    stopped = lm.generate("w1", max_new_tokens=8, seed=0, stop=written.trace[3].text)
    assert 0 < len(stopped.visible_ids) < len(stopped.token_ids)
    assert pickle.loads(pickle.dumps(stopped)).visible_ids == stopped.visible_ids


def test_a_pickled_generation_is_small_in_any_batch(lm):
    """Neither the model, nor the tokenizer, nor the other rows of its batch are in it."""
    alone = lm.generate("w1 w2", top_k=5, max_new_tokens=5, seed=1)
    batched = lm.generate(["w1 w2"] * 40, top_k=5, max_new_tokens=5, seed=1)[0]
    size = len(pickle.dumps(alone))
    assert size < 8_000
    assert abs(len(pickle.dumps(batched)) - size) < 100


def test_the_weights_are_hashed_only_for_those_who_look_at_the_provenance(llama, lm, monkeypatch):
    """Hashing a large model takes seconds, and a text alone does not need it."""
    looked = []
    describe = type(lm.engine).describe
    monkeypatch.setattr(type(lm.engine), "describe", lambda engine: looked.append(1) or describe(engine))
    generation = lm.generate("w1", max_new_tokens=1)
    assert (generation.text, looked) == (generation.text, [])
    assert generation.provenance["weights_fingerprint"] == llama.weights_fingerprint
    assert generation.provenance is generation.provenance
    assert looked == [1]


def test_a_record_keeps_the_dtype_in_which_the_text_was_written():
    base = tiny_lm("llama")
    lm = LanguageModel(TorchEngine(base))
    written = lm.generate("w1", max_new_tokens=1, seed=0)
    searched = lm.rewind(
        "w1", lambda prompt, text: 0.5, settings=RewindSettings(max_new_tokens=1, iterations=1), seed=0
    )
    base.model.to(torch.bfloat16)
    assert (written.provenance["dtype"], searched.provenance["dtype"]) == ("float32", "float32")
