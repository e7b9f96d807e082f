"""The processor, driven as vLLM's V2 model runner drives it: slots are used again, rows change their order.

The runner itself needs Triton and a GPU; this is a stand-in of its interface.
"""

import random
from importlib import import_module
from types import SimpleNamespace

import numpy
import pytest
import torch

from fake_vllm import ModelSide, Slots, V1LogitsProcessor, V2LogitsProcessor, config, install
from tiny import tiny_ladder, tiny_reward
from trimtab.engines.vllm.step_record import keep_step
from trimtab.errors import InvalidSetting

TEXTS = ["w6 w7 w8 w9 w10 w11", "w16 w17", "w26 w27 w28", "w36", "w40 w41", "w2 w3 w4 w5"]
GIVEN = ["mood=5", None, "mood=-3 slow:calm=4", '{"steer": "slow=5", "seed": 7}', "slow=4", None]


class Running:
    """A request in the runner; `ids` are its tokens."""

    def __init__(self, text, given):
        self.prompt, self.given = [int(word[1:]) + 4 for word in text.split()], given
        self.written, self.slot = [], None

    @property
    def ids(self):
        return [*self.prompt, *self.written]


class Runner:
    """Joins, steps and preempts requests as the V2 model runner does."""

    def __init__(self, kind, lm, slots):
        self.slots, self.lm = Slots(slots, 64), lm
        self.processor = kind(config(embedded=True), self.slots)
        self.model, self.running, self.order = ModelSide(lm), [], random.Random(0)

    def join(self, request):
        request.slot = self.slots.add(request.prompt, request.written)
        extra = None if request.given is None else {"trimtab": request.given}
        params = SimpleNamespace(extra_args=extra, temperature=0.0)
        request.is_steered = self.processor.add_request(request.slot, params)
        self.running.append(request)

    def leave(self, request):
        """End a request, or preempt it: its keys and values are lost."""
        self.running.remove(request)
        self.slots.free.append(request.slot)
        self.model.read.pop(request, None)

    @torch.inference_mode()
    def step(self, chunk=3):
        self.slots.flush()
        self.processor.apply_staged_writes()
        rows = self.order.sample(self.running, len(self.running))
        counts = {row: chunk if self.model.read.get(row, 0) < len(row.ids) - 1 else 1 for row in rows}
        record, logits = self.model.step(rows, counts)
        keep_step(record)
        mapping = numpy.array([row.slot for row in rows])
        steered = self.processor.apply(logits.clone(), SimpleNamespace(idx_mapping_np=mapping))
        for row, before, after in zip(rows, logits, steered, strict=True):
            if not row.is_steered:
                assert torch.equal(before, after)
            if self.model.read[row] >= len(row.ids):
                row.written.append(int(after.argmax()))
                self.slots.append(row.slot, row.written[-1])


@pytest.fixture
def kind(monkeypatch):
    install(monkeypatch)
    return import_module("trimtab.engines.vllm.processor").SteeringProcessor


@pytest.fixture
def runner(kind, llama):
    """A runner with slots for three requests."""
    runner = Runner(kind, llama, slots=3)
    served = runner.processor._served
    served._rewards = {"mood": tiny_ladder(llama), "slow": tiny_reward(llama, "q")}
    served.__dict__["base"] = llama
    return runner


@pytest.fixture
def expected(runner, lm):
    """What the library writes: eight tokens of each text."""
    mood, slow = runner.processor._served._rewards.values()
    steers = [mood.toward(5.0), None, mood.away(3.0) + slow.toward(4.0, "calm"), slow.toward(5.0), slow.toward(4.0)]
    options = [{"temperature": 0}] * 3 + [{"seed": 7}] + [{"temperature": 0}] * 2
    pairs = zip(TEXTS, [*steers, None], options, strict=True)
    return [lm.generate(text, steer, max_new_tokens=8, **each).token_ids for text, steer, each in pairs]


def test_requests_that_come_and_go_are_steered_as_the_library_steers(runner, expected):
    waiting = [Running(text, given) for text, given in zip(TEXTS, GIVEN, strict=True)]
    every, steps = list(waiting), 0
    while waiting or runner.running:
        while waiting and runner.slots.free:
            runner.join(waiting.pop(0))
        runner.step()
        for request in [each for each in runner.running if len(each.written) >= 8]:
            runner.leave(request)
        steps += 1
        if steps % 5 == 0 and runner.running:  # the request comes back with what it has written
            runner.leave(preempted := runner.running[0])
            waiting.append(preempted)
    for request, tokens in zip(every, expected, strict=True):
        assert request.written[: len(tokens)] == tokens


def test_a_slot_forgets_its_last_request(runner, expected):
    first, second = Running(TEXTS[0], GIVEN[0]), Running(TEXTS[1], GIVEN[1])
    runner.join(first)
    runner.step(chunk=9)
    runner.leave(first)
    runner.join(second)
    assert second.slot == first.slot
    runner.step(chunk=9)  # an unsteered row's logits are checked there
    assert second.written == expected[1][:1]


def test_a_request_that_is_not_in_a_step_waits(runner, expected):
    """The scheduler may leave a running request out of a step."""
    request, other = Running(TEXTS[0], GIVEN[0]), Running(TEXTS[3], GIVEN[3])
    runner.join(request)
    runner.join(other)
    for step in range(11):
        left_out = request if step % 3 == 1 else None
        runner.running = [each for each in (request, other) if each is not left_out]
        runner.step()
    assert len(request.written) == 6
    assert request.written == expected[0][:6]
    assert other.written[:8] == expected[3]


def test_a_request_that_was_out_of_a_step_with_no_other_steered_one_reads_its_new_states(runner, expected):
    """Nobody follows such a step, so the states of before are dropped."""
    request, plain = Running(TEXTS[0], GIVEN[0]), Running(TEXTS[1], None)
    runner.join(request)
    runner.join(plain)
    for step in range(11):
        runner.running = [plain] if step % 3 == 2 else [request, plain]
        runner.step()
    assert request.written == expected[0][: len(request.written)]
    assert len(request.written) >= 6


def test_each_model_runner_takes_the_class(kind):
    assert issubclass(kind, V1LogitsProcessor)
    assert issubclass(kind, V2LogitsProcessor)


def test_drafts_of_vllm_are_refused(kind):
    with pytest.raises(InvalidSetting, match="speculative decoding"):
        kind(config(speculative=object()), Slots(1, 8))
