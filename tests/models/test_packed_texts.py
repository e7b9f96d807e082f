"""Texts that share beginnings, packed into one row: the same states as alone, each shared token encoded once."""

import pytest
import torch

from trimtab import testing
from trimtab.models import packed_texts
from trimtab.models.packed_texts import PackedTexts
from trimtab.models.prefix_cache import PrefixCache
from trimtab.models.usage import Usage

TEXTS = [[5, 6, 7, 8, 9, 10, 11, 12], [5, 6, 7, 20, 21], [5, 6, 7, 8, 9, 30], [40, 41, 42, 43, 44, 45, 46]]
DISTINCT = len({tuple(text[: end + 1]) for text in TEXTS for end in range(len(text))})


def test_packed_texts_have_the_logits_of_texts_alone(frozen):
    testing.assert_packed_equals_alone(frozen, TEXTS, [1, 3, 2, 1])


def test_texts_packed_into_several_forward_calls_have_the_logits_of_texts_alone(frozen, monkeypatch):
    monkeypatch.setattr(packed_texts, "MAX_NEW_TOKENS", 6)
    prefix_cache = PrefixCache()
    PackedTexts(frozen.model, prefix_cache, TEXTS, [1] * 4).states(2)
    assert prefix_cache.usage.calls > 1
    testing.assert_packed_equals_alone(frozen, TEXTS, [1, 3, 2, 1])


def test_a_shared_token_is_encoded_once(llama):
    prefix_cache = PrefixCache()
    PackedTexts(llama.model, prefix_cache, TEXTS, [1] * 4).logits()
    assert prefix_cache.usage == Usage(DISTINCT, 1)
    PackedTexts(llama.model, prefix_cache, TEXTS, [1] * 4).logits()  # it holds the 5 tokens that texts share
    assert prefix_cache.usage == Usage(2 * DISTINCT - 5, 2)
    PackedTexts(llama.model, prefix_cache, TEXTS, [1] * 4).states(2)  # it holds every token from here on
    PackedTexts(llama.model, prefix_cache, TEXTS, [1] * 4).states(2)
    assert prefix_cache.usage.tokens == 3 * DISTINCT - 10 + 4


@pytest.mark.parametrize("depth", [1, 2])
def test_states_are_the_hidden_states_of_a_layer(frozen, depth):
    prefix_cache = PrefixCache()
    for last in ([1, 3, 2, 1], [8, 5, 6, 7]):
        found = PackedTexts(frozen.model, prefix_cache, TEXTS, last).states(depth)
        for states, text, count in zip(found, TEXTS, last, strict=True):
            whole = frozen.body(torch.tensor([text]), use_cache=False, output_hidden_states=True).hidden_states[depth]
            torch.testing.assert_close(states, whole[0, -count:], atol=1e-4, rtol=1e-4)


def test_texts_that_share_more_than_each_takes_from_the_cache_have_the_logits_of_texts_alone(frozen):
    """A text takes from the cache what lies before its last tokens, so two texts take unequal parts of one prefix."""
    prefix_cache = PrefixCache()
    PackedTexts(frozen.model, prefix_cache, [[1, 2, 3, 4, 9], [1, 2, 3, 4, 8]], [1, 1]).logits()
    texts, last = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 7], [1, 2, 3, 4, 5, 7, 8]], [5, 2, 1]
    for _ in range(2):  # the second time, what the first one stored is read
        found = PackedTexts(frozen.model, prefix_cache, texts, last).logits()
        for logits, text, count in zip(found, texts, last, strict=True):
            alone = frozen.model(torch.tensor([text])).logits[0, -count:]
            torch.testing.assert_close(logits, alone, atol=1e-4, rtol=1e-4)


def test_usage_is_counted_where_the_caller_says(llama):
    prefix_cache, usage = PrefixCache(), Usage()
    PackedTexts(llama.model, prefix_cache, TEXTS, [1] * 4, usage).logits()
    assert usage == Usage(DISTINCT, 1)
    assert prefix_cache.usage == Usage()
