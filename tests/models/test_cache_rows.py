"""Rows of KV caches against indexing by hand."""

import torch

from trimtab.models.cache_rows import blank_cache, join_caches, stack_rows
from trimtab.models.growing_cache import GrowingCache


def filled(rows, slots, seed):
    cache, generator = GrowingCache(), torch.Generator().manual_seed(seed)
    for layer in range(2):
        keys, values = (torch.randn(rows, 3, slots, 4, generator=generator) for _ in range(2))
        cache.update(keys, values, layer)
    return cache


def test_joined_rows_are_padded_on_the_left():
    ours, theirs = filled(2, 5, 0), filled(1, 3, 1)
    joined = join_caches(ours, theirs, 5)
    for layer, first, second in zip(joined.layers, ours.layers, theirs.layers, strict=True):
        assert torch.equal(layer.keys[:2], first.keys)
        assert torch.equal(layer.values[2, :, 2:], second.values[0])
        assert not layer.keys[2, :, :2].any()


def test_a_blank_cache_has_the_same_shape_and_nothing_in_it():
    blank = blank_cache(filled(2, 5, 0), 7)
    assert [layer.keys.shape for layer in blank.layers] == [(7, 3, 5, 4)] * 2
    assert not any(layer.values.any() for layer in blank.layers)


def test_masks_stack_too():
    ours, theirs = torch.ones(1, 3, dtype=torch.bool), torch.ones(1, 2, dtype=torch.bool)
    assert stack_rows(ours, theirs, 3).tolist() == [[True] * 3, [False, True, True]]
