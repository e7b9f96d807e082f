"""A cache that grows in place against transformers' own, which copies."""

import random

import pytest
import torch
from transformers import DynamicCache

from trimtab.models.growing_cache import GrowingCache

HEADS, SIZE = 2, 4


def states(rows, columns):
    return torch.randn(rows, HEADS, columns, SIZE)


def both(cache, reference, keys, values):
    """Append to both; return what the growing one returned, which must be what the other did."""
    with torch.inference_mode():
        found = cache.update(keys, values, 0)
    for mine, theirs in zip(found, reference.update(keys, values, 0), strict=True):
        assert torch.equal(mine, theirs)
    return found


@pytest.mark.parametrize("seed", range(8))
def test_any_order_of_changes_gives_what_copies_give(seed):
    draw = random.Random(seed)
    torch.manual_seed(seed)
    cache, reference, rows = GrowingCache(), DynamicCache(), 3
    both(cache, reference, states(rows, 5), states(rows, 5))
    for _ in range(60):
        change = draw.choice(["append", "append", "append", "crop", "select", "trim", "column"])
        layers = cache.layers[0], reference.layers[0]
        if change == "append":
            columns = draw.choice([1, 1, 1, 7, 40])
            both(cache, reference, states(rows, columns), states(rows, columns))
        elif change == "crop" and layers[0].keys.shape[2] > 4:
            for each in (cache, reference):
                each.crop(-draw.choice([3]))
        elif change == "select":
            index = torch.tensor([draw.randrange(rows) for _ in range(draw.choice([2, 3, 4]))])
            rows = len(index)
            for each in (cache, reference):
                each.batch_select_indices(index)
        elif change == "trim" and layers[0].keys.shape[2] > 2:
            for layer in layers:
                layer.keys, layer.values = layer.keys[:, :, 1:], layer.values[:, :, 1:]
        elif change == "column" and layers[0].keys.shape[2] > 4:
            start, choice = layers[0].keys.shape[2] - 3, torch.tensor([draw.randrange(3) for _ in range(rows)])
            for name in ("keys", "values"):
                held = getattr(layers[1], name)
                chosen = torch.stack([row[:, start + int(place)] for row, place in zip(held, choice, strict=True)])
                setattr(layers[1], name, torch.cat([held[:, :, :start], chosen[:, :, None]], dim=2))
            with torch.inference_mode():
                layers[0].keep_column(start, choice)
        assert torch.equal(layers[0].keys, layers[1].keys)
        assert torch.equal(layers[0].values, layers[1].values)
        assert cache.get_seq_length() == reference.get_seq_length()


def test_tokens_are_written_in_place_until_the_room_is_used_up():
    cache, reference = GrowingCache(), DynamicCache()
    both(cache, reference, states(2, 5), states(2, 5))
    places = [both(cache, reference, states(2, 1), states(2, 1))[0].data_ptr() for _ in range(100)]
    assert len(set(places)) == 4  # rooms of 38, 71, 104 and 137 tokens, for 105


def test_other_work_may_go_on_outside_inference_mode():
    cache, reference = GrowingCache(), DynamicCache()
    for _ in range(2):
        both(cache, reference, states(1, 2), states(1, 2))
    with torch.no_grad():
        keys, _ = cache.update(states(1, 1), states(1, 1), 0)
    assert keys.shape[2] == 5


def test_gradients_flow_through_copies():
    cache, new = GrowingCache(), states(1, 1).requires_grad_()
    cache.update(states(1, 2), states(1, 2), 0)
    cache.update(new, new, 0)[0].sum().backward()
    assert torch.equal(new.grad, torch.ones_like(new))


def test_nothing_of_other_texts_stays_in_a_buffer_behind_the_states():
    cache, buffer = GrowingCache(), torch.full((4, HEADS, 9, SIZE), torch.nan)
    cache.update(states(3, 5), states(3, 5), 0)
    for room in cache.rooms:
        room.move(buffer)
        assert torch.equal(buffer[:3, :, :5], room.states)
        assert not buffer[:3, :, 5:].any()
