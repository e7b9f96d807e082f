"""The engine over a stand-in of vLLM's: what it refuses before a step, and likelihoods beside other requests."""

from importlib import import_module
from threading import Thread
from time import monotonic

import pytest
import torch

from fake_vllm import LLMEngine, config, install
from tiny import tiny_ladder, tiny_reward
from trimtab.engines.base import Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.engine import TorchEngine
from trimtab.engines.vllm.engine import VllmEngine
from trimtab.engines.vllm.request_pool import RequestPool
from trimtab.errors import InvalidSetting, NonFiniteReward
from trimtab.models.usage import Usage

PREFIXES = [[10, 11, 12, 13], [20, 21]]
CONTINUATIONS = [[[30, 31, 32], [33]], [[34, 35]]]


@pytest.fixture
def start(monkeypatch, llama):
    """Starts an engine with some settings of trimtab."""
    install(monkeypatch)
    kind = import_module("trimtab.engines.vllm.processor").SteeringProcessor

    def start(**section):
        about = config(embedded=True, **section)
        engine = object.__new__(VllmEngine)
        pool = RequestPool(LLMEngine(llama, kind(about, torch.device("cpu"), False), about))
        engine._set(pool, TorchEngine(llama), Usage())
        return engine

    return start


def test_a_reward_that_reads_another_depth_is_refused_before_a_step(start, llama):
    engine, reward = start(taps=[1]), tiny_reward(llama, "q", "frozen", layers=2, bos_token_id=None)
    steer = reward.toward(5.0)
    for ask in (
        lambda: engine.sample([Request(PREFIXES[0], SamplingParams(seed=0), steer)]),
        lambda: engine.score(PREFIXES, CONTINUATIONS, steer),
        lambda: engine.read(PREFIXES, steer),
    ):
        with pytest.raises(InvalidSetting, match=r"depths 2, .* among 1, 3, .*taps': \[1, 2, 3\]"):
            ask()
    assert not engine.llm_engine.new


def test_the_setting_taps_keeps_the_depths_of_a_reward(start, llama):
    engine, reward = start(taps=[2]), tiny_reward(llama, "q", "frozen", layers=2, bos_token_id=None)
    requests = [Request(PREFIXES[0], SamplingParams(seed=0, max_new_tokens=5), reward.toward(5.0))]
    (found,), (expected,) = engine.sample(requests), TorchEngine(llama).sample(requests)
    assert [choice.token_id for choice in found[0].choices] == [choice.token_id for choice in expected[0].choices]


@pytest.mark.parametrize("steered", [False, True])
def test_likelihoods_are_the_torch_engines(start, llama, steered):
    steer = tiny_ladder(llama).toward(5.0) if steered else None
    found = start().score(PREFIXES, CONTINUATIONS, steer, top_k=20)
    for ours, theirs in zip(found, TorchEngine(llama).score(PREFIXES, CONTINUATIONS, steer, top_k=20), strict=True):
        torch.testing.assert_close(ours.logprobs, theirs.logprobs, atol=1e-4, rtol=1e-4)
        assert ours.greedy.tolist() == theirs.greedy.tolist()


@pytest.mark.parametrize("steered", [False, True])
def test_other_threads_take_turns_while_likelihoods_are_read(start, llama, monkeypatch, steered):
    """vLLM gives no output before another thread has added a request; after ten seconds the test gives up."""
    engine = start()
    vllm, run, joined, deadline = engine.llm_engine, engine.llm_engine.step, [], monotonic() + 10
    other = Thread(target=lambda: engine.sample([Request(PREFIXES[0], SamplingParams(seed=0, max_new_tokens=3))]))

    def step():
        joined.append(len(vllm.new) + len(vllm.running))
        if len(joined) == 1:
            other.start()
        return [] if max(joined) == 1 and monotonic() < deadline else run()

    monkeypatch.setattr(vllm, "step", step)
    steer = tiny_ladder(llama).toward(5.0) if steered else None
    engine.score(PREFIXES[:1], [[[30, 31, 32]]], steer, top_k=20)
    other.join()
    assert max(joined) == 2


def test_a_fault_in_a_step_of_another_thread_is_raised(start, llama, monkeypatch):
    engine, broken = start(), tiny_reward(llama, "q")
    steer, pool = broken.toward(5.0), engine._pool
    broken.network.head.up.data.fill_(torch.nan)
    write = pool.write

    def write_and_step(*arguments):
        running = write(*arguments)
        other = Thread(target=pool.step)
        other.start()
        other.join(timeout=10)
        return running

    monkeypatch.setattr(pool, "write", write_and_step)
    with pytest.raises(NonFiniteReward):
        engine.score(PREFIXES[:1], [[[30]]], steer, top_k=20)
