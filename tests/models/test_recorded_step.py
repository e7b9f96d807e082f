"""Recorded calls, against forward calls over whole texts. Without a GPU, what is recorded is run again each time."""

from weakref import WeakKeyDictionary

import pytest
import torch

from tiny import tiny_ladder, tiny_lm, tiny_reward
from trimtab.engines.base import Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.running_batch import RunningBatch
from trimtab.models import recordings
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.kv_cache import KVCache
from trimtab.models.recorded_step import RecordedStep, cuda_graph
from trimtab.models.recordings import SWITCH, recorder, spacious
from trimtab.models.side_network import LAST

TEXTS = [[10, 20, 30, 40, 11, 21, 31], [50, 51], [12, 13, 14, 15]]
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(autouse=True)
def _inference():
    with torch.inference_mode():
        yield


def tensors_of(called):
    """What a call returned."""
    given = [called.logits, called.last_hidden_state, *called.states.values()]
    return [each for each in given if each is not None]


@pytest.fixture
def recorded(monkeypatch):
    """Record every call from the second of its shape on; returns the bodies that were recorded.

    As with a CUDA graph, each replay writes its results to the same place.
    """
    bodies = []

    def record(body):
        bodies.append(body)
        found = body()

        def replay():
            for ours, theirs in zip(tensors_of(found), tensors_of(body()), strict=True):
                ours.copy_(theirs)
            return found

        return replay

    monkeypatch.setattr(recordings, "recorder", lambda device: record)
    monkeypatch.setattr(recordings, "CALLS_BEFORE", 1)
    monkeypatch.setattr(recordings.Recordings, "_shelves", WeakKeyDictionary())
    return bodies


def assert_rows(lm, cache, texts, logits, depths):
    """The logits and hidden states of each row are those of a forward call over its text."""
    for row, text in enumerate(texts):
        ids = torch.tensor([text], device=lm.device)
        whole = lm.model(ids, use_cache=False, output_hidden_states=True)
        torch.testing.assert_close(logits[row], whole.logits[0, -1], atol=1e-4, rtol=1e-4)
        for depth in depths:
            expected = whole.hidden_states[depth][0, -1]
            torch.testing.assert_close(cache.hidden(depth)[row], expected, atol=1e-4, rtol=1e-4)


def write(lm, cache, texts, first, count, depths=()):
    """Feed some tokens to every row, and check each; returns the longer texts."""
    for token in range(first, first + count):
        texts = [[*text, token + row] for row, text in enumerate(texts)]
        ids = torch.tensor([text[-1:] for text in texts], device=lm.device)
        assert_rows(lm, cache, texts, cache.feed(ids).logits[:, -1], depths)
    return texts


def started(lm, texts, depths=()):
    """A cache that holds these texts."""
    batch, cache = lm.batch(texts), KVCache(lm.model, depths)
    cache.feed(batch.ids, batch.mask)
    return cache


@pytest.mark.parametrize("depths", [(), (2,), (1, LAST)])
def test_a_recorded_call_has_the_states_of_each_text_alone(frozen, recorded, depths):
    write(frozen, started(frozen, TEXTS, depths), TEXTS, 5, 5, depths)
    assert len(recorded) == 1


def test_rows_that_leave_are_recorded_anew(frozen, recorded):
    cache = started(frozen, TEXTS, (2,))
    texts = write(frozen, cache, TEXTS, 5, 3, (2,))
    cache.select(torch.tensor([2, 0]))
    write(frozen, cache, [texts[2], texts[0]], 30, 4, (2,))
    assert len(recorded) == 2


def test_rows_may_leave_a_recording_with_room_for_more(frozen, recorded):
    """Five rows and six have one recording."""
    many = [[*text, number] for number, text in enumerate(TEXTS * 2)]
    cache = started(frozen, many, (2,))
    texts = write(frozen, cache, many, 5, 3, (2,))
    cache.select(torch.tensor([5, 0, 2, 1, 4]))
    write(frozen, cache, [texts[row] for row in (5, 0, 2, 1, 4)], 30, 4, (2,))
    assert len(recorded) == 1


def test_rows_without_a_text_keep_nothing_of_texts_before(llama):
    """What is left of an earlier mask could give them positions that the model does not have."""
    step = RecordedStep([], rows=2, new=1, columns=8, device=torch.device("cpu"))
    step.read(torch.tensor([[5], [6]]), torch.ones(2, 8, dtype=torch.bool))
    step.read(torch.tensor([[7]]), torch.ones(1, 3, dtype=torch.bool))
    positions, _, visible = step._seen(llama.model)
    assert positions.tolist() == [[2], [0]]
    assert visible[1].nonzero().tolist() == [[0, 2]]


def test_the_next_texts_use_the_recordings_of_the_last(frozen, recorded):
    write(frozen, started(frozen, TEXTS, (2,)), TEXTS, 5, 4, (2,))
    others = [[40, 41, 42], [43], [44, 45]]
    write(frozen, started(frozen, others, (2,)), others, 5, 4, (2,))
    assert len(recorded) == 1


def test_two_batches_at_once_have_buffers_of_their_own(frozen, recorded):
    first, second = started(frozen, TEXTS), started(frozen, TEXTS)
    ours, theirs = TEXTS, TEXTS
    for number in range(4):
        ours, theirs = write(frozen, first, ours, 5 + number, 1), write(frozen, second, theirs, 30 + number, 1)
    assert len(recorded) == 2


def test_a_cache_that_takes_the_rows_of_another_takes_its_buffers(frozen, recorded):
    """The other is gone, and must not leave them to a third."""
    whole, other = KVCache(frozen.model), started(frozen, TEXTS)
    texts = write(frozen, other, TEXTS, 5, 3)
    whole.join(other)
    del other
    write(frozen, started(frozen, TEXTS), TEXTS, 40, 3)
    write(frozen, whole, texts, 30, 3)


def test_few_buffers_wait_for_other_texts(recorded, monkeypatch):
    """A model's workspaces are dropped, the oldest first, when they hold too much together."""
    lm = tiny_lm("llama")

    def recorded_by(rows):
        before = len(recorded)
        write(lm, started(lm, TEXTS[:rows]), TEXTS[:rows], 5, 3)
        return len(recorded) - before

    assert [recorded_by(rows) for rows in (1, 2, 1, 2)] == [1, 1, 0, 0]
    with monkeypatch.context() as patched:
        patched.setattr(recordings, "MOST_WORKSPACES", 1)
        assert [recorded_by(rows) for rows in (1, 2, 1, 1)] == [0, 1, 1, 0]
    monkeypatch.setattr(recordings, "MOST_WAITING", 0)
    assert [recorded_by(rows) for rows in (1, 1)] == [0, 1]


def test_buffers_come_in_few_sizes():
    assert [spacious(count) for count in range(1, 14)] == [1, 2, 3, 4, 6, 6, 8, 8, 12, 12, 12, 12, 16]
    assert all(count <= spacious(count) <= 1.5 * count for count in range(2, 999))


def test_rows_that_join_are_recorded_anew(frozen, recorded):
    cache = started(frozen, TEXTS[:2], (2,))
    texts = write(frozen, cache, TEXTS[:2], 5, 3, (2,))
    cache.join(started(frozen, TEXTS[2:], (2,)))
    write(frozen, cache, [*texts, TEXTS[2]], 30, 4, (2,))
    assert len(recorded) == 2


def test_tokens_taken_back_are_not_seen(frozen, recorded):
    """Of each row its own number, and then the last ones of all."""
    cache = started(frozen, TEXTS, (LAST,))
    texts = write(frozen, cache, TEXTS, 5, 3, (LAST,))
    cache.retract([0, 2, 1])
    texts = write(frozen, cache, [texts[0], texts[1][:-2], texts[2][:-1]], 30, 3)
    cache.rollback(2)
    write(frozen, cache, [text[:-2] for text in texts], 40, 3)


def test_several_tokens_at_once_have_a_recording_of_their_own(frozen, recorded):
    cache, texts = started(frozen, TEXTS), TEXTS
    for round_ in range(3):
        drafts = [[5 + round_, 6 + row, 7] for row in range(3)]
        lengths = torch.tensor([3, 1, 2])
        mask = torch.arange(3) < lengths[:, None]
        logits = cache.feed(torch.tensor(drafts), mask, 3).logits
        for place in range(3):
            longer = [[*text, *draft[: place + 1]] for text, draft in zip(texts, drafts, strict=True)]
            kept = [row for row in range(3) if place < lengths[row]]
            assert_rows(frozen, cache, [longer[row] for row in kept], logits[kept, place], ())
        cache.retract((3 - lengths).tolist())
        texts = [[*text, *draft[:length]] for text, draft, length in zip(texts, drafts, lengths.tolist(), strict=True)]
        texts = write(frozen, cache, texts, 30 + round_, 1)
    assert len(recorded) == 2


def test_a_full_buffer_is_recorded_anew(recorded, monkeypatch):
    monkeypatch.setattr(recordings, "COLUMNS", 8)
    monkeypatch.setattr(recordings, "SPARE_COLUMNS", 1)
    lm = tiny_lm("llama")
    write(lm, started(lm, TEXTS), TEXTS, 5, 20)
    assert len(recorded) == 3  # of 16, 24 and 32 columns


def test_a_ladder_is_part_of_the_recording(frozen, recorded, monkeypatch):
    ladder = tiny_ladder(frozen).reads(frozen.model)
    batch, tokens = frozen.batch(TEXTS), [torch.tensor([[number], [number + 9], [3]]) for number in range(5)]
    found = []
    for replayed in (True, False):
        if not replayed:
            monkeypatch.setattr(recordings, "recorder", lambda device: None)
        cache = KVCache(frozen.model, [ladder])
        cache.feed(batch.ids, batch.mask)
        found.append([(cache.feed(ids), cache.hidden(ladder))[1] for ids in tokens])
    assert len(recorded) == 1
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_a_call_without_memory_to_record_is_run_as_ever_and_recorded_later(recorded, monkeypatch):
    lm, told = tiny_lm("gpt2", seed=8), recordings.RecordedStep.record

    def short(self, call, record):
        monkeypatch.setattr("trimtab.models.recordings.RecordedStep.record", told)
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 MiB")

    monkeypatch.setattr("trimtab.models.recordings.RecordedStep.record", short)
    write(lm, started(lm, TEXTS), TEXTS, 8, 3)
    assert len(recorded) == 1


def test_a_call_that_cannot_be_recorded_is_run_as_ever_and_tried_once(monkeypatch):
    tried = []

    def record(body):
        tried.append(body)
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(recordings, "recorder", lambda device: record)
    lm = tiny_lm("gpt2", seed=7)
    with pytest.warns(UserWarning, match="cannot be recorded as a CUDA graph.*not permitted"):
        write(lm, started(lm, TEXTS), TEXTS, 5, 6)
    write(lm, started(lm, TEXTS), TEXTS, 5, 6)
    assert len(tried) == 1


def test_what_a_call_returned_outlives_the_next(recorded):
    lm = tiny_lm("llama")
    cache = started(lm, TEXTS, (2,))
    kept = []
    for number in range(5):
        called = cache.feed(torch.full((3, 1), 5 + number))
        kept.append((called.logits, called.logits.clone(), cache.hidden(2), cache.hidden(2).clone()))
    assert len(recorded) == 1
    assert all(torch.equal(a, b) and torch.equal(c, d) for a, b, c, d in kept)


def test_only_a_gpu_records_and_the_environment_can_forbid_it(monkeypatch):
    assert recorder(torch.device("cpu")) is None
    assert recorder(torch.device("cuda")) is cuda_graph
    monkeypatch.setenv(SWITCH, "0")
    assert recorder(torch.device("cuda")) is None


def on_cuda(lm):
    """The same model on the GPU."""
    return FrozenLM(lm.model.to("cuda"), lm.tokenizer, lm.name)


@on_gpu
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3", "qwen2"])
def test_a_cuda_graph_has_the_states_of_each_text_alone(family, monkeypatch):
    recorded = []
    monkeypatch.setattr(recordings, "cuda_graph", lambda body: recorded.append(body) or cuda_graph(body))
    lm = on_cuda(tiny_lm(family))
    cache = started(lm, TEXTS, (2,))
    texts = write(lm, cache, TEXTS, 5, 8, (2,))
    cache.retract([0, 2, 1])
    texts = write(lm, cache, [texts[0], texts[1][:-2], texts[2][:-1]], 30, 5)
    cache.select(torch.tensor([2, 0], device="cuda"))
    write(lm, cache, [texts[2], texts[0]], 40, 6)
    assert len(recorded) == 2


@on_gpu
@pytest.mark.parametrize("trunk", ["frozen", "lora", "ladder"])
@pytest.mark.parametrize("speculate", [None, "lookup"])
def test_graphs_write_the_texts_that_launches_write(trunk, speculate, monkeypatch):
    found = []
    for switch in ("1", "0"):
        monkeypatch.setenv(SWITCH, switch)
        lm = on_cuda(tiny_lm("llama"))
        reward = tiny_ladder(lm) if trunk == "ladder" else tiny_reward(lm, "q", trunk)
        params = SamplingParams(top_k=20, max_new_tokens=40, seed=3, speculate=speculate)
        batch = RunningBatch(lm)
        batch.add([Request(tuple(text), params, reward.toward(5.0)) for text in TEXTS], [40] * 3)
        tokens = {}
        while batch.active:
            for chunk in batch.step(4):
                tokens.setdefault(chunk.request, []).extend(choice.token_id for choice in chunk.choices)
        found.append(tokens)
    assert found[0] == found[1]
