"""Rows that start, end, join and leave: every text is the one that its request has alone."""

import re
from dataclasses import replace
from itertools import count

import pytest
import torch

from tiny import tiny_ladder, tiny_lm, tiny_reward
from trimtab import testing
from trimtab.engines.base import Request, collect
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch import running_batch
from trimtab.engines.torch.engine import TorchEngine
from trimtab.engines.torch.running_batch import RunningBatch
from trimtab.engines.torch.sampling import RowSampling
from trimtab.errors import NonFiniteLogits, NonFiniteReward
from trimtab.language_model import LanguageModel
from trimtab.models.prefix_cache import PrefixCache
from trimtab.rewards.heads.v_head import VState

PROMPTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9"]
PREFIXES = [[10, 11, 12, 13, 14, 15, 16], [20], [30, 31, 32], [40, 41]]
PARAMS = SamplingParams(top_k=6, max_new_tokens=9)


def requests_of(steers, **params):
    """Return one request for each steer, of different lengths and seeds."""
    return [
        Request(prefix, replace(PARAMS, seed=seed, max_new_tokens=9 - seed, **params), steer)
        for seed, (prefix, steer) in enumerate(zip(PREFIXES, steers, strict=False))
    ]


def steers_of(frozen, kind):
    """Return the steers of four rows: of one kind of reward, or of several."""
    own = tiny_reward(frozen, "q", "frozen", seed=3, bos_token_id=None)
    arm, rad, ladder = tiny_reward(frozen, "q", seed=1), tiny_reward(frozen, "v", seed=2), tiny_ladder(frozen)
    return {
        "plain": [None] * 4,
        "own trunk": [arm.toward(6.0), arm.away(3.0, "calm"), arm.toward(2.0), arm.toward(6.0)],
        "own state": [own.toward(6.0), own.away(3.0, "calm"), None, own.toward(2.0) + own.away(1.0, "calm")],
        "ladder": [ladder.toward(6.0), None, ladder.away(3.0, "calm"), ladder.toward(2.0) + own.away(1.0)],
        "V-head": [rad.toward(6.0), rad.away(3.0, "calm"), rad.toward(2.0), None],
        "mixed": [arm.toward(6.0), None, own.away(4.0) + rad.toward(2.0), rad.toward(3.0) + arm.away(2.0)],
    }[kind]


@pytest.mark.parametrize("steps_before", [0, 1, 3])
@pytest.mark.parametrize("kind", ["plain", "own trunk", "own state", "ladder", "V-head", "mixed"])
def test_a_text_is_the_same_whenever_its_row_joins(frozen, kind, steps_before):
    engine = TorchEngine(frozen)
    testing.assert_joining_changes_nothing(engine, requests_of(steers_of(frozen, kind)), steps_before)


@pytest.mark.parametrize("kind", ["own state", "mixed"])
def test_several_samples_join_as_one_request(llama, kind):
    engine = TorchEngine(llama)
    testing.assert_joining_changes_nothing(engine, requests_of(steers_of(llama, kind), n=2), 2)


@pytest.mark.parametrize("kind", ["own trunk", "own state", "V-head"])
def test_the_joining_law_fails_if_joined_rows_lose_their_place(llama, kind, monkeypatch):
    """The comparison is real: rows that are sampled in the wrong order are caught."""
    join = RowSampling.join
    monkeypatch.setattr(RowSampling, "join", lambda self, other: join(other, self))
    with pytest.raises(AssertionError):
        testing.assert_joining_changes_nothing(TorchEngine(llama), requests_of(steers_of(llama, kind)), 2)


def mixed_requests(llama):
    """Return requests of which each has settings of its own."""
    arm, rad = tiny_reward(llama, "q", seed=1), tiny_reward(llama, "v", seed=2)
    settings = [
        (SamplingParams(top_k=4, max_new_tokens=8, seed=1), arm.toward(4.0)),
        (SamplingParams(top_k=20, max_new_tokens=3, seed=2, n=3), None),
        (SamplingParams(top_k=None, max_new_tokens=7, seed=3), arm.away(2.0)),
        (SamplingParams(top_k=None, top_p=0.7, max_new_tokens=7, seed=3), arm.toward(1.0)),
        (SamplingParams(top_k=10, top_p=0.5, max_new_tokens=6, temperature=2.0, seed=4, n=2), rad.toward(3.0)),
        (SamplingParams(top_k=10, temperature=0, max_new_tokens=9, seed=5), arm.toward(1.0) + rad.away(1.0)),
        (SamplingParams(top_k=None, temperature=0.3, max_new_tokens=5, seed=6), None),
        (SamplingParams(top_k=1, max_new_tokens=9, seed=7), None),
        (SamplingParams(top_k=10, max_new_tokens=6, seed=9, max_kl=0.1, no_repeat_ngram_size=1), arm.toward(9.0)),
        (SamplingParams(top_k=10, max_new_tokens=8, seed=9, repetition_penalty=1.5), arm.toward(9.0)),
        (SamplingParams(top_k=20, max_new_tokens=9, seed=8, stop=[f"w{n}" for n in range(0, 60, 2)]), None),
    ]
    prefixes = [[5 + n, 9, *range(20, 20 + n % 4)] for n in range(len(settings))]
    return [Request(prefix, *each) for prefix, each in zip(prefixes, settings, strict=True)]


def test_settings_of_each_row_give_the_text_and_the_trace_of_the_row_alone(llama):
    requests = mixed_requests(llama)
    together = TorchEngine(llama).sample(requests)
    for request, found in zip(requests, together, strict=True):
        (alone,) = TorchEngine(llama).sample([request])
        assert len(found) == len(alone) == request.params.n
        for one, other in zip(found, alone, strict=True):
            assert_same_continuation(one, other)
    assert {each.finish_reason for of in together for each in of} >= {"length", "stop"}


def assert_same_continuation(found, expected):
    """Tokens and reasons are equal; log-probabilities and rewards are equal up to rounding."""
    assert (found.token_ids, found.finish_reason) == (expected.token_ids, expected.finish_reason)
    for one, other in zip(found.choices, expected.choices, strict=True):
        assert one.candidates.tolist() == other.candidates.tolist()
        assert one.column == other.column
        torch.testing.assert_close(one.base_logprobs, other.base_logprobs, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(one.steered_logprobs, other.steered_logprobs, atol=1e-4, rtol=1e-4)
        for name, rewards in other.rewards.items():
            torch.testing.assert_close(one.rewards[name], rewards, atol=1e-4, rtol=1e-4, equal_nan=True)
        assert all(rewards.isnan().all() for name, rewards in one.rewards.items() if name not in other.rewards)


def test_rows_without_a_top_k_join_rows_that_have_one(llama):
    testing.assert_joining_changes_nothing(TorchEngine(llama), mixed_requests(llama), 2)


@pytest.mark.parametrize("poll", [1, 3, 8])
def test_the_number_of_tokens_per_step_changes_no_text(llama, poll, monkeypatch):
    monkeypatch.setattr(llama.codec, "eos_token_ids", frozenset(range(4, 14)))
    engine, steer = TorchEngine(llama), tiny_reward(llama, "q").toward(2.0)
    requests = [
        Request([10 + row, 20], SamplingParams(top_k=8, max_new_tokens=11, seed=row), steer) for row in range(6)
    ]
    batch, chunks = RunningBatch(llama), []
    batch.add(requests, [11] * 6)
    while batch.active:
        chunks.append(batch.step(poll))
    found, expected = collect(requests, chunks), engine.sample(requests)
    assert [of[0].token_ids for of in found] == [of[0].token_ids for of in expected]
    assert [of[0].finish_reason for of in found] == [of[0].finish_reason for of in expected]
    assert len({len(of[0].token_ids) for of in found}) > 1


def test_rows_that_end_early_leave_without_changing_the_others(llama, lm, monkeypatch):
    reward = tiny_reward(llama, "v")
    steers = [reward.toward(4.0), None, reward.away(4.0)]
    options = {"max_new_tokens": 10, "top_k": 8, "seed": 5}
    plain = lm.generate(PROMPTS, steers, **options)
    end = plain[0].token_ids[1]
    monkeypatch.setattr(llama.codec, "eos_token_ids", frozenset([end]))
    ended = lm.generate(PROMPTS, steers, **options)
    assert ended[0].finish_reason == "eos"
    for before, after in zip(plain, ended, strict=True):
        cut = before.token_ids.index(end) + 1 if end in before.token_ids else len(before.token_ids)
        assert after.token_ids == before.token_ids[:cut]


@pytest.mark.parametrize("cancelled", range(4))
def test_a_cancelled_request_leaves_the_other_texts_unchanged(llama, cancelled):
    requests = requests_of(steers_of(llama, "mixed"), n=2)
    batch, chunks = RunningBatch(llama), []
    numbers = batch.add(requests, [request.params.max_new_tokens for request in requests])
    chunks += [batch.step(), batch.step()]
    batch.cancel(numbers[cancelled])
    while batch.active:
        chunks.append(batch.step())
    found = collect(requests, chunks)
    for number, request in enumerate(requests):
        (alone,) = TorchEngine(llama).sample([request])
        kept = 2 if number == cancelled else None
        assert [each.token_ids for each in found[number]] == [each.token_ids[:kept] for each in alone]


def test_a_batch_whose_requests_are_all_cancelled_takes_new_ones(llama):
    (request, other) = requests_of([None, None])
    batch = RunningBatch(llama)
    batch.cancel(*batch.add([request], [9]))
    assert not batch.active
    assert batch.step() == []
    (number,) = batch.add([other], [8])
    assert number == 1
    tokens = []
    while batch.active:
        tokens += [choice.token_id for chunk in batch.step() for choice in chunk.choices]
    assert tokens == TorchEngine(llama).sample([other])[0][0].token_ids


def test_a_row_may_be_greedy_short_or_end_at_a_character(llama):
    prefix = [5, 6, 7, 8, 9, 10, 11, 12]
    params = SamplingParams(top_k=10, max_new_tokens=8, seed=1)
    requests = [
        Request(prefix, params),
        Request(prefix, replace(params, temperature=0)),
        Request(prefix, replace(params, max_new_tokens=2)),
        Request(prefix, params, until="123456789"),
    ]
    plain, greedy, short, until = (of[0] for of in TorchEngine(llama).sample(requests))
    assert greedy.token_ids == greedy_by_hand(llama, prefix, 8) != plain.token_ids
    assert (short.token_ids, short.finish_reason) == (plain.token_ids[:2], "length")
    words = [llama.codec.decode([token]) for token in plain.token_ids]
    end = next(place for place, word in enumerate(words) if word[-1] in "123456789")
    assert (until.token_ids, until.finish_reason) == (plain.token_ids[: end + 1], "until")


@torch.inference_mode()
def greedy_by_hand(llama, prefix, tokens):
    """Return the most likely tokens, each by a forward call over the whole text."""
    ids = list(prefix)
    for _ in range(tokens):
        ids.append(int(llama.model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[len(prefix) :]


@pytest.mark.parametrize("kind", ["own trunk", "own state", "V-head"])
def test_a_row_from_a_filled_prefix_cache_keeps_its_text_when_another_joins(llama, kind):
    """The first row's prompt comes from the prefix cache, so the KV cache has hidden states of its last token only."""
    engine = TorchEngine(llama, PrefixCache())
    first, second = requests_of(steers_of(llama, kind)[:2])
    expected = [TorchEngine(llama).sample([request])[0][0].token_ids for request in (first, second)]
    engine.sample([first])
    batch = RunningBatch(llama, engine.prefix_cache)
    chunks = []
    for request in (first, second):
        batch.add([request], engine.limits([request]))
        chunks += [batch.step() for _ in range(2)]
    while batch.active:
        chunks.append(batch.step())
    assert [each.token_ids for (each,) in collect([first, second], chunks)] == expected


@torch.inference_mode()
@pytest.mark.parametrize("first", [0, 1])
def test_a_prompt_is_steered_alike_after_a_plain_row_of_it_ran_beside_a_ladder(llama, first):
    """The plain row's tokens are in the prefix cache; the ladder did not read them."""
    steer = tiny_ladder(llama).toward(6.0)
    beside = [Request(PREFIXES[2], replace(PARAMS, seed=1), steer), Request(PREFIXES[0], replace(PARAMS, seed=2))]
    engine = TorchEngine(llama, PrefixCache())
    batch = engine.start_batch()
    for request in (beside[first], beside[1 - first]):
        batch.add([request], engine.limits([request]))
    while batch.active:
        batch.step()
    request = Request([*PREFIXES[0], 17], replace(PARAMS, seed=3), steer)
    ((expected,),) = TorchEngine(llama).sample([request])
    ((found,),) = engine.sample([request])
    assert_same_continuation(found, expected)


def test_steps_of_several_tokens_stop_at_the_end_of_the_context():
    """GPT-2's positions end with the context: no row may be fed beyond it."""
    gpt2 = tiny_lm("gpt2")
    engine = TorchEngine(gpt2)
    requests = [Request([10] * length, SamplingParams(top_k=5, max_new_tokens=20, seed=length)) for length in (61, 10)]
    batch, chunks = RunningBatch(gpt2), []
    batch.add(requests, engine.limits(requests))
    while batch.active:
        chunks.append(batch.step(8))
    for request, (found,) in zip(requests, collect(requests, chunks), strict=True):
        assert found.token_ids == engine.sample([request])[0][0].token_ids


def test_a_closed_batch_has_no_rows(llama):
    engine, batch = TorchEngine(llama), RunningBatch(llama)
    requests = [Request(PREFIXES[0], replace(PARAMS, seed=1))]
    batch.add(requests, engine.limits(requests))
    batch.step()
    batch.close()
    assert not batch.active
    assert batch.step() == []


def failing_after(llama, tokens, head="q"):
    """Return a reward that is NaN for one candidate of its row from the given step on."""
    reward = tiny_reward(llama, head)
    start = reward.start

    def failing(host=None):
        state = start(host)
        rewards, calls = state.rewards, count()

        def broken(candidates):
            found = rewards(candidates)
            if next(calls) >= tokens:
                found[0, -1, -1] = torch.nan
            return found

        state.rewards = broken
        return state

    reward.start = failing
    return reward


@pytest.mark.parametrize("poll", [1, 4, 8])
@pytest.mark.parametrize("params", [{"top_k": 6}, {"top_k": None}, {"top_k": None, "top_p": 0.9}])
def test_no_token_is_returned_that_a_broken_reward_steered(llama, poll, params):
    request = Request(PREFIXES[0], replace(PARAMS, seed=0, **params), failing_after(llama, 3).toward(2.0))
    batch, written = RunningBatch(llama), []
    batch.add([request], [9])

    def run():
        while batch.active:
            for chunk in batch.step(poll):
                written.extend(chunk.choices)
                yield chunk

    faults = [chunk.fault for chunk in run() if chunk.fault]
    assert [type(fault) for fault in faults] == [NonFiniteReward]
    assert re.search(r"the reward nan of 'tiny-q' in 'calm' for the token 'w\d+' \(id \d+\)", str(faults[0]))
    assert len(written) == 3
    assert not batch.active


def test_a_reward_that_breaks_behind_the_end_of_a_text_is_no_fault(llama):
    def write(reward, poll):
        params = replace(PARAMS, seed=0, stop=("w",), max_new_tokens=9)
        batch = RunningBatch(llama)
        batch.add([Request(PREFIXES[0], params, reward.toward(2.0))], [9])
        return [choice.token_id for chunk in batch.step(poll) for choice in chunk.choices]

    assert write(failing_after(llama, 1), 8) == write(tiny_reward(llama, "q"), 8)


def test_a_broken_reward_beyond_the_trace_is_found(lm, llama, monkeypatch):
    monkeypatch.setattr("trimtab.engines.torch.trace.TRACE_WIDTH", 6)
    with pytest.raises(NonFiniteReward, match="in 'calm'"):
        lm.generate("w1 w2", failing_after(llama, 0).toward(2.0), top_k=None, max_new_tokens=3, seed=0)


def test_plain_rows_beside_a_broken_reward_share_its_error(lm, llama):
    with pytest.raises(NonFiniteReward, match=r"in 'calm'.*\(prompt 2 of 2, sample 0\)$"):
        lm.generate(["w1", "w2"], [None, failing_after(llama, 2).toward(2.0)], max_new_tokens=5, seed=0)


def broken_model():
    """Return a model that gives NaN behind the token 50, and only there; it writes other tokens than this one."""
    lm = tiny_lm("qwen2")
    lm.model.get_input_embeddings().weight.data[50] = torch.nan
    lm.model.get_output_embeddings().weight.data[50] = 0
    return lm


@pytest.mark.parametrize("params", [{"top_k": 6}, {"top_k": None}, {"top_k": None, "top_p": 0.9}, {"temperature": 0}])
def test_logits_that_are_not_finite_are_the_language_models_fault(params):
    broken = broken_model()
    lm = LanguageModel(TorchEngine(broken))
    for steer in (None, tiny_reward(broken, "q").toward(1000.0)):
        with pytest.raises(NonFiniteLogits, match=r"from the language model .*\(prompt 2 of 2, sample 0\)$"):
            lm.generate(["w1", "w46"], steer, max_new_tokens=3, seed=0, **params)
    assert lm.generate("w1", max_new_tokens=1, seed=0, **params).token_ids


def test_likelihoods_that_are_not_finite_are_an_error():
    broken = broken_model()
    for engine in (TorchEngine(broken), TorchEngine(broken, batch_invariant=True), TorchEngine(broken).session()):
        with pytest.raises(NonFiniteLogits, match="likelihood from the language model"):
            engine.score([[5], [50]], [[[6]], [[6]]])


@pytest.mark.parametrize("poll", [1, 4])
@pytest.mark.parametrize("params", [{}, {"top_k": None}])
def test_a_faulty_row_ends_alone_and_no_other_token_is_lost(params, poll):
    broken = broken_model()
    reward = tiny_reward(broken, "q", seed=3)
    faulty = failing_after(broken, 2)
    requests = [
        Request([5, 6], replace(PARAMS, seed=0, n=2), reward.toward(3.0)),
        Request([7, 50], replace(PARAMS, seed=1, **params)),
        Request([8, 9], replace(PARAMS, seed=2, **params), faulty.toward(2.0)),
        Request([10], replace(PARAMS, seed=3, **params), reward.away(2.0)),
    ]
    batch, written, faults = RunningBatch(broken), {}, {}
    batch.add(requests, [9] * 4)
    while batch.active:
        for chunk in batch.step(poll):
            row = chunk.request, chunk.sample
            assert row not in faults
            written[row] = written.get(row, []) + [choice.token_id for choice in chunk.choices]
            faults |= {row: type(chunk.fault)} if chunk.fault else {}
    assert faults == {(1, 0): NonFiniteLogits, (2, 0): NonFiniteReward}
    alone = TorchEngine(broken)
    for number in (0, 3):
        for sample, text in enumerate(alone.sample([requests[number]])[0]):
            assert written[number, sample] == text.token_ids
    assert len(written[2, 0]) == 2


def test_the_decode_step_reads_the_flags_together_with_the_tokens(llama, monkeypatch):
    """One transfer from the device for each poll, however many steps it has."""
    transfers = []
    tolist = torch.Tensor.tolist
    batch = RunningBatch(llama)
    batch.add([Request(PREFIXES[0], replace(PARAMS, seed=0), tiny_reward(llama, "q").toward(2.0))], [9])
    monkeypatch.setattr(torch.Tensor, "__bool__", lambda self: pytest.fail("a device sync"))
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: transfers.append(self.shape) or tolist(self))
    monkeypatch.setattr("trimtab.engines.torch.running_batch._chunks", lambda *_: [])
    batch.step(4)
    assert transfers == [(1, 4)]


def test_a_row_scores_no_more_candidates_because_another_has_many(llama, monkeypatch):
    """A V-head runs each candidate, so a row with many beside it would cost it memory and time."""
    widths = []
    whole = VState.rewards
    monkeypatch.setattr(VState, "rewards", lambda self, ids: widths.append(ids.shape[1]) or whole(self, ids))
    monkeypatch.setattr(running_batch, "WIDTHS", (8, 32))
    steers = [tiny_reward(llama, "v").toward(2.0), None]
    params = [SamplingParams(top_k=top_k, max_new_tokens=4, seed=1) for top_k in (5, 40)]
    lm = LanguageModel(TorchEngine(llama))
    prompts = ["w1 w2", "w3"]
    texts = lm.generate(prompts, steers, params)
    assert set(widths) == {5}
    alone = [lm.generate(*each) for each in zip(prompts, steers, params, strict=True)]
    assert [text.token_ids for text in texts] == [text.token_ids for text in alone]
