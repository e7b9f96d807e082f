"""Laws of the KV cache and the prefix cache, over any language model, in float32."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.kv_cache import KVCache
from trimtab.models.packed_texts import PackedTexts
from trimtab.models.prefix_cache import PrefixCache

TOLERANCE = 1e-4
Ids = Sequence[int]


@torch.inference_mode()
def assert_host_cache_rewinds(lm: FrozenLM, prompt: Ids, detour: Ids, tolerance: float = TOLERANCE) -> None:
    """A KV cache that is fed, rolled back and fed again gives the logits of a forward call without a cache."""
    cache = KVCache(lm.model)
    batch = lm.batch([prompt])
    cache.feed(batch.ids, batch.mask)
    for token in detour:
        cache.feed(torch.tensor([[token]], device=lm.device))
    cache.rollback(len(detour))
    logits = cache.feed(torch.tensor([[detour[-1]]], device=lm.device)).logits[0, -1]
    whole = lm.model(torch.tensor([[*prompt, detour[-1]]], device=lm.device), use_cache=False).logits[0, -1]
    assert_close(logits, whole, tolerance)


@torch.inference_mode()
def assert_prefix_cache_changes_nothing(
    lm: FrozenLM, texts: Sequence[Ids], prefix_cache: PrefixCache | None = None, tolerance: float = TOLERANCE
) -> None:
    """Behind cached prefixes, a batch of texts has the logits of forward calls without a cache, and costs fewer tokens.

    The first half of each text is encoded first, then all texts, padded on the left.
    """
    prefix_cache = prefix_cache or PrefixCache()
    starts = lm.batch([text[: len(text) // 2 or 1] for text in texts])
    first = KVCache(lm.model, prefix_cache=prefix_cache)
    first.feed(starts.ids, starts.mask)
    first.remember()
    before = prefix_cache.usage.tokens
    batch = lm.batch(texts)
    logits = KVCache(lm.model, prefix_cache=prefix_cache).feed(batch.ids, batch.mask).logits[:, -1]
    for row, text in zip(logits, texts, strict=True):
        assert_close(
            row, lm.model(torch.tensor([list(text)], device=lm.device), use_cache=False).logits[0, -1], tolerance
        )
    usage = prefix_cache.usage.tokens - before
    assert usage < batch.ids.numel(), f"{usage} tokens were encoded, all {batch.ids.numel()} of the batch"


@torch.inference_mode()
def assert_packed_equals_alone(
    lm: FrozenLM, texts: Sequence[Ids], last: Sequence[int], tolerance: float = TOLERANCE
) -> None:
    """Texts packed into one row have the logits of forward calls of their own, also when a part is cached."""
    prefix_cache = PrefixCache()
    for _ in range(2):
        packed = PackedTexts(lm.model, prefix_cache, texts, last).logits()
        for logits, text, count in zip(packed, texts, last, strict=True):
            whole = lm.model(torch.tensor([list(text)], device=lm.device), use_cache=False).logits[0, -count:]
            assert_close(logits, whole, tolerance)


def assert_close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Two tensors agree to an absolute and relative tolerance."""
    torch.testing.assert_close(found.float(), expected.float(), atol=tolerance, rtol=tolerance)
