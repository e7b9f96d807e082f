"""The ladder against a computation in float64 that has no batch, no cache and no fused projections."""

import math

import pytest
import torch

from tiny import tiny_ladder, tiny_lm, tiny_reward
from trimtab import errors
from trimtab.models.kv_cache import KVCache
from trimtab.models.prefix_cache import PrefixCache
from trimtab.models.side_network import LAST
from trimtab.rewards.ladder import Ladder, by_columns

TEXT = [10, 20, 30, 40, 11, 21, 31]
TEXTS = [TEXT, [50, 51], [12, 13, 14, 15]]


def normed(x, weight=1.0):
    centred = x - x.mean()
    return centred / math.sqrt(float((centred * centred).mean()) + 1e-5) * weight


def attended(layer, inputs):
    """Causal attention of one layer, one head and one token at a time; the heads share keys and values."""
    width = inputs.shape[1]
    size = width // layer.heads
    weight = layer.queries_key_value.weight.double()
    queries, key, value = weight[:width], weight[width : width + size], weight[width + size :]
    inputs = [normed(x, layer.attention_norm.weight.double()) for x in inputs]
    rows = []
    for place, x in enumerate(inputs):
        keys, values = (torch.stack([part @ seen for seen in inputs[: place + 1]]) for part in (key, value))
        asked = (queries @ x).split(size)
        heads = [(keys @ query / math.sqrt(size)).softmax(0) @ values for query in asked]
        rows.append(layer.attention_out.weight.double() @ torch.cat(heads))
    return torch.stack(rows)


def ladder_by_hand(ladder, states):
    """The ladder's state at each token of one text, from the model's states there."""
    x = torch.zeros(len(states[0]), ladder.rungs.shape[2], dtype=torch.float64)
    for scale, rung, layer, of_tap in zip(ladder.scale, ladder.rungs, ladder.layers, states, strict=True):
        x = x + torch.stack([normed(state.double(), scale[0].double()) @ rung.double() for state in of_tap])
        x = x + attended(layer, x)
        inputs = torch.stack([normed(row, layer.feed_forward_norm.weight.double()) for row in x])
        gate, up = (inputs @ layer.gate_and_up.weight.double().T).chunk(2, dim=1)
        x = x + (gate * gate.sigmoid() * up) @ layer.down.weight.double().T
    return torch.stack([normed(row, ladder.norm.weight.double()) for row in x])


def states_of(lm, text, taps):
    """The model's hidden states of one text, without a cache."""
    hidden = lm.body(torch.tensor([text]), use_cache=False, output_hidden_states=True).hidden_states
    return [hidden[tap][0] for tap in taps]


@torch.no_grad()
def test_the_ladder_equals_a_computation_by_hand(frozen):
    reward = tiny_ladder(frozen)
    ladder = reward.network.ladder
    ladder.scale.uniform_(0.5, 2.0)
    for text in TEXTS:
        expected = ladder_by_hand(ladder, states_of(frozen, text, ladder.taps))
        encoded = reward.network.encoder.encode(torch.tensor([text]), torch.ones(1, len(text), dtype=torch.bool))
        torch.testing.assert_close(encoded.hidden[0].double(), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_cache_runs_the_ladder_beside_the_model(frozen):
    """Padded rows, then a token each, a rollback, a fork, and two tokens at once."""
    ladder = tiny_ladder(frozen).network.ladder
    cache, batch = KVCache(frozen.model, [ladder, LAST]), frozen.batch(TEXTS)
    cache.feed(batch.ids, batch.mask)

    def assert_states(texts):
        for row, text in enumerate(texts):
            expected = ladder_by_hand(ladder, states_of(frozen, text, ladder.taps))[-1]
            torch.testing.assert_close(cache.hidden(ladder)[row].double(), expected, atol=1e-4, rtol=1e-4)

    assert_states(TEXTS)
    cache.feed(torch.tensor([[5], [6], [7]]))
    assert_states([[*TEXTS[0], 5], [*TEXTS[1], 6], [*TEXTS[2], 7]])
    cache.rollback(2)
    assert_states([text[:-1] for text in TEXTS])
    cache.select(torch.tensor([2, 0, 2]))
    cache.feed(torch.tensor([[8, 9], [18, 19], [28, 29]]))
    assert_states([[*TEXTS[2][:-1], 8, 9], [*TEXTS[0][:-1], 18, 19], [*TEXTS[2][:-1], 28, 29]])


@torch.no_grad()
def test_rows_that_join_keep_their_states_also_beside_rows_without_a_ladder(frozen):
    ladder = tiny_ladder(frozen).network.ladder
    steered, plain = KVCache(frozen.model, [ladder]), KVCache(frozen.model)
    for cache, texts in ((steered, TEXTS[1:]), (plain, TEXTS[:1])):
        batch = frozen.batch(texts)
        cache.feed(batch.ids, batch.mask)
    steered.join(plain)
    steered.feed(torch.tensor([[5], [6], [7]]))
    for row, text in enumerate([[*TEXTS[1], 5], [*TEXTS[2], 6]]):
        expected = ladder_by_hand(ladder, states_of(frozen, text, ladder.taps))[-1]
        torch.testing.assert_close(steered.hidden(ladder)[row].double(), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_prefix_cache_holds_the_ladders_keys_too(frozen):
    ladder = tiny_ladder(frozen).network.ladder
    prefix_cache, batch = PrefixCache(), frozen.batch([TEXT])
    for read in ([], [ladder], [ladder]):  # the first keeps no keys of the ladder, so the second encodes all again
        before = prefix_cache.usage.tokens
        cache = KVCache(frozen.model, read, prefix_cache=prefix_cache)
        cache.feed(batch.ids, batch.mask)
        encoded = prefix_cache.usage.tokens - before
        cache.remember()
    assert encoded == 1
    expected = ladder_by_hand(ladder, states_of(frozen, TEXT, ladder.taps))[-1]
    torch.testing.assert_close(cache.hidden(ladder)[0].double(), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_ladder_below_the_top_reads_bare_states_in_both_ways():
    """The trunk of its own is cut there; the steered model has layers above, and a final norm."""
    lm = tiny_lm("llama")
    reward = tiny_ladder(lm, layers=2)
    alone, host = reward.start(), KVCache(lm.model, [reward.reads(lm.model)])
    batch, candidates = lm.batch([TEXT]), torch.tensor([[5, 17, 29]])
    hosted = reward.start(host)
    host.feed(batch.ids, batch.mask)
    for state in (alone, hosted):
        state.prefill(batch.ids, batch.mask)
    torch.testing.assert_close(alone.rewards(candidates), hosted.rewards(candidates), atol=1e-5, rtol=1e-5)


def test_no_gradient_reaches_the_language_model(llama):
    network = tiny_ladder(llama).network.requires_grad_(False)
    for part in (network.ladder, network.head):
        part.requires_grad_(True)
    scored = network(torch.tensor([TEXT]), torch.ones(1, len(TEXT), dtype=torch.bool))
    scored.values[scored.known].sum().backward()
    assert all(weight.grad is not None for weight in network.ladder.parameters())
    assert all(weight.grad is None for weight in network.trunk.parameters())


def test_a_head_that_runs_its_candidates_takes_no_ladder(llama):
    with pytest.raises(errors.InvalidSetting, match="got head='v' with trunk='ladder', expected head=q"):
        tiny_reward(llama, "v", "ladder")


def test_a_width_that_does_not_split_is_refused():
    with pytest.raises(errors.InvalidSetting, match="got ladder_width=18, expected a multiple of ladder_heads=4"):
        Ladder(32, [1], 18, 4)


def test_rungs_are_stored_by_columns_with_the_same_values_and_stay_so_when_loaded():
    """The layout in memory is what a token's product reads in order."""
    made, loaded = (Ladder(16, (1, 2), 8, 2) for _ in range(2))
    loaded.load_state_dict({name: tensor.contiguous() for name, tensor in made.state_dict().items()})
    assert torch.equal(made.rungs, loaded.rungs)
    for ladder in (made, loaded, loaded.to(torch.bfloat16)):
        assert ladder.rungs.mT.is_contiguous()
    weights = torch.randn(3, 5, 7)
    assert torch.equal(by_columns(weights), weights)
