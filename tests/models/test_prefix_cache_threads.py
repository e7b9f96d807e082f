"""Threads share a prefix cache without changing each other's texts."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tiny import tiny_reward
from trimtab.engines.base import Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.engine import TorchEngine
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.kv_cache import KVCache
from trimtab.models.packed_texts import PackedTexts
from trimtab.models.prefix_cache import PrefixCache, PrefixStore
from trimtab.testing.model_laws import assert_close

PER_TOKEN = 3 * 2 * 2 * 8 * 4  # of the tiny llama: layers, keys and values, heads, size, bytes
HELD, OTHER = [5, 6, 7, 8, 9, 10], [30, 31, 32, 33, 34, 35, 36, 37]
SMALL = 12 * PER_TOKEN / 2**30  # room for 12 tokens


def remember(llama, prefix_cache, text):
    batch = llama.batch([text])
    cache = KVCache(llama.model, prefix_cache=prefix_cache)
    cache.feed(batch.ids, batch.mask)
    cache.remember()


@pytest.fixture
def intruder(llama, monkeypatch):
    """A cache that holds two texts; whenever slots are about to be loaded, another thread saves a third and forgets."""
    prefix_cache = PrefixCache(SMALL)
    remember(llama, prefix_cache, [40, 41, 42, 43])
    remember(llama, prefix_cache, HELD)
    load, threads = PrefixStore.load, []

    def load_late(store, rows, width):
        if width and threading.current_thread() is threading.main_thread():
            threads.append(threading.Thread(target=remember, args=(llama, prefix_cache, OTHER)))
            threads[-1].start()
            threads[-1].join(0.5)  # it ends, unless it has to wait
        return load(store, rows, width)

    monkeypatch.setattr(PrefixStore, "load", load_late)
    yield prefix_cache
    for thread in threads:
        thread.join()
    assert threads, "nothing was loaded"


@torch.inference_mode()
def test_a_save_between_find_and_load_changes_no_logits(llama, intruder):
    batch = llama.batch([[*HELD, 11]])
    logits = KVCache(llama.model, prefix_cache=intruder).feed(batch.ids, batch.mask).logits[0, -1]
    assert_close(logits, llama.model(batch.ids, use_cache=False).logits[0, -1], 1e-4)


@torch.inference_mode()
def test_a_save_while_texts_are_packed_changes_no_logits(llama, intruder):
    text = [*HELD, 11]
    (logits,) = PackedTexts(llama.model, intruder, [text], [1]).logits()
    assert_close(logits[-1], llama.model(torch.tensor([text]), use_cache=False).logits[0, -1], 1e-4)


@pytest.fixture
def impatient():
    """Threads that are switched as often as possible."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def write(engine, reward, number):
    steer = reward.toward(4.0) if number % 2 else None
    prompt = engine.codec.encode_prompt(" ".join(f"w{(number * step) % 60}" for step in range(1, 9)))
    params = SamplingParams(seed=number, max_new_tokens=8, top_k=5)
    return engine.sample([Request(prompt, params, steer)])[0][0].token_ids


@pytest.mark.parametrize("shared", ["a session", "a cache of two engines"])
def test_threads_that_share_a_prefix_cache_write_the_texts_of_one_thread(llama, impatient, shared):
    reward = tiny_reward(llama, "q")
    alone = [write(TorchEngine(llama), reward, number) for number in range(12)]
    cache = PrefixCache(40 * PER_TOKEN / 2**30)  # room for two texts: it forgets all the time
    if shared == "a session":
        engines = [TorchEngine(llama, cache).session()] * 4
    else:
        twins = [FrozenLM(llama.model, llama.tokenizer, "twin") for _ in range(4)]  # each has a lock of its own
        engines = [TorchEngine(twin, cache) for twin in twins]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda number: write(engines[number % 4], reward, number), range(12)))
    assert together == alone
