"""Batches of texts of similar length."""

import pytest
import torch

from trimtab.training.batches import LengthGrouped, Throughput, by_length


def test_batches_hold_texts_of_similar_length_in_an_order_of_seed_and_epoch():
    lengths = [1 + (7 * i) % 61 for i in range(1003)]
    sampler = LengthGrouped(lengths, 10, seed=0)
    order = list(sampler)
    assert sorted(order) == list(range(1003))
    assert order == list(sampler)
    batches = [[lengths[i] for i in order[start : start + 10]] for start in range(0, 1000, 10)]
    padding = 1 - sum(map(sum, batches)) / sum(10 * max(batch) for batch in batches)
    assert padding < 0.03
    longest = [max(batch) for batch in batches]
    assert longest not in (sorted(longest), sorted(longest, reverse=True))
    sampler.set_epoch(1)
    assert list(sampler) != order


def test_examples_are_batched_from_the_shortest_to_the_longest():
    batches = by_length([{"length": length} for length in (3, 1, 5, 2, 4)], 2)
    assert [[example["length"] for example in batch] for batch in batches] == [[1, 2], [3, 4], [5]]


def test_throughput_counts_the_share_of_padding_since_the_last_call():
    throughput = Throughput()
    throughput.count(torch.tensor([[True, True], [False, True]]))
    throughput.count(torch.tensor([[True, True]]))
    taken = throughput.take()
    assert taken["padding"] == pytest.approx(1 / 6, abs=1e-4)
    assert taken["tokens_per_second"] > 0
    assert throughput.take()["padding"] == 1.0
