"""A prefix cache gives the same states for fewer tokens, also after it has dropped some."""

import pytest
import torch

from tiny import tiny_lm
from trimtab import errors, testing
from trimtab.models.kv_cache import KVCache
from trimtab.models.packed_texts import PackedTexts
from trimtab.models.prefix_cache import PrefixCache
from trimtab.models.usage import Usage

TEXTS = [[5, 6, 7, 8, 9, 10, 11, 12], [5, 6, 7, 20, 21], [5, 6, 7, 8, 9, 30], [40, 41, 42, 43, 44, 45, 46]]
PER_TOKEN = 3 * 2 * 2 * 8 * 4  # of the tiny llama: layers, keys and values, heads, size, bytes
DISTINCT = len({tuple(text[: end + 1]) for text in TEXTS for end in range(len(text))})


def test_cached_prefixes_change_no_logits(frozen):
    testing.assert_prefix_cache_changes_nothing(frozen, TEXTS)


def test_dropped_prefixes_are_encoded_again_and_change_no_logits(llama):
    """There is room for 12 tokens, of texts that have 18."""
    prefix_cache = PrefixCache(12 * PER_TOKEN / 2**30)
    store = prefix_cache.of(llama.model)
    for _ in range(3):
        for text in TEXTS:
            testing.assert_prefix_cache_changes_nothing(llama, [text], prefix_cache)
            batch = llama.batch([text])
            cache = KVCache(llama.model, prefix_cache=prefix_cache)
            cache.feed(batch.ids, batch.mask)
            cache.remember()
            assert len(store._slots) <= 12
            assert len(store.find(text)) == len(text)
    assert any(len(store.find(text)) < len(text) for text in TEXTS)


def test_a_shared_prefix_needs_room_once(llama):
    """The texts have 26 tokens, 18 of them distinct: room for 20 is enough."""
    prefix_cache = PrefixCache(20 * PER_TOKEN / 2**30)
    for calls in (1, 2):
        PackedTexts(llama.model, prefix_cache, TEXTS, [1] * 4).states(2)
        assert prefix_cache.usage.tokens == DISTINCT + (calls - 1) * len(TEXTS)


def test_an_interrupted_save_leaves_nothing_behind(llama, monkeypatch):
    prefix_cache = PrefixCache()
    batch = llama.batch(TEXTS[:1])
    cache = KVCache(llama.model, prefix_cache=prefix_cache)
    cache.feed(batch.ids, batch.mask)
    monkeypatch.setattr(torch.Tensor, "__setitem__", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        cache.remember()
    monkeypatch.undo()
    assert prefix_cache.of(llama.model).find(TEXTS[0]) == []
    testing.assert_prefix_cache_changes_nothing(llama, TEXTS, prefix_cache)


def _interrupt(*arguments):
    raise KeyboardInterrupt


def test_a_cache_without_room_only_counts(llama):
    prefix_cache = PrefixCache(0)
    batch = llama.batch(TEXTS)
    for calls in (1, 2):
        cache = KVCache(llama.model, prefix_cache=prefix_cache)
        cache.feed(batch.ids, batch.mask)
        cache.remember()
        assert prefix_cache.usage == Usage(calls * batch.ids.numel(), calls)


def test_a_negative_size_is_refused():
    with pytest.raises(errors.InvalidSetting, match="gigabytes"):
        PrefixCache(-1)


def test_two_models_share_no_prefixes(llama):
    prefix_cache = PrefixCache()
    other = tiny_lm("llama", seed=1)
    for lm in (llama, other):
        testing.assert_prefix_cache_changes_nothing(lm, TEXTS, prefix_cache)


@pytest.mark.parametrize("gigabytes", ["2", None, float("nan"), float("inf")])
def test_a_size_that_is_no_finite_number_is_refused(gigabytes):
    with pytest.raises(errors.InvalidSetting, match="gigabytes"):
        PrefixCache(gigabytes)
