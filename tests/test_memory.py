"""What is remembered of texts: the same answers for fewer tokens, whatever is forgotten in between."""

import pytest
import torch

from tiny import tiny_lm, tiny_reward
from trimtab import errors, testing
from trimtab.engines.base import Request
from trimtab.engines.scoring import reward_texts, score_continuations
from trimtab.engines.settings import Sampling
from trimtab.engines.torch import TorchEngine
from trimtab.frozen import packed
from trimtab.frozen.cache import PrefixCache
from trimtab.frozen.memory import Memory, Spent

TEXTS = [[5, 6, 7, 8, 9, 10, 11, 12], [5, 6, 7, 20, 21], [5, 6, 7, 8, 9, 30], [40, 41, 42, 43, 44, 45, 46]]
PER_TOKEN = 3 * 2 * 2 * 8 * 4  # of the tiny llama: layers, keys and values, heads, size, bytes
DISTINCT = len({tuple(text[: end + 1]) for text in TEXTS for end in range(len(text))})


def test_memory_changes_nothing(frozen):
    testing.assert_memory_changes_nothing(frozen, TEXTS)


def test_packed_equals_alone(frozen):
    testing.assert_packed_equals_alone(frozen, TEXTS, [1, 3, 2, 1])


def test_packed_in_several_forwards(frozen, monkeypatch):
    monkeypatch.setattr(packed, "MOST_NEW", 6)
    memory = Memory()
    packed.PackedTexts(frozen.model, memory, TEXTS, [1] * 4).states(2)
    assert memory.spent.calls > 1
    testing.assert_packed_equals_alone(frozen, TEXTS, [1, 3, 2, 1])


def test_a_shared_token_is_encoded_once(llama):
    memory = Memory()
    packed.PackedTexts(llama.model, memory, TEXTS, [1] * 4).logits()
    assert memory.spent == Spent(DISTINCT, 1)
    packed.PackedTexts(llama.model, memory, TEXTS, [1] * 4).logits()  # what two texts share is remembered
    assert memory.spent == Spent(2 * DISTINCT - 5, 2)
    packed.PackedTexts(llama.model, memory, TEXTS, [1] * 4).states(2)  # now everything is
    packed.PackedTexts(llama.model, memory, TEXTS, [1] * 4).states(2)
    assert memory.spent.tokens == 3 * DISTINCT - 10 + 4


@pytest.mark.parametrize("depth", [1, 2])
def test_states_are_those_of_a_layer(frozen, depth):
    memory = Memory()
    for last in ([1, 3, 2, 1], [8, 5, 6, 7]):
        found = packed.PackedTexts(frozen.model, memory, TEXTS, last).states(depth)
        for states, text, count in zip(found, TEXTS, last, strict=True):
            whole = frozen.body(torch.tensor([text]), use_cache=False, output_hidden_states=True).hidden_states[depth]
            torch.testing.assert_close(states, whole[0, -count:], atol=1e-4, rtol=1e-4)


def test_forgetting_changes_nothing(llama):
    """Room for 12 tokens, of texts that have 18: what is forgotten is encoded again, and nothing else is."""
    memory = Memory(12 * PER_TOKEN / 2**30)
    store = memory.of(llama.model)
    for _ in range(3):
        for text in TEXTS:
            testing.assert_memory_changes_nothing(llama, [text], memory)
            batch = llama.batch([text])
            cache = PrefixCache(llama.model, memory=memory)
            cache.feed(batch.ids, batch.mask)
            cache.remember()
            assert len(store._slots) <= 12
            assert len(store.find(text)) == len(text)
    assert any(len(store.find(text)) < len(text) for text in TEXTS)


def test_what_texts_share_needs_room_once(llama):
    """Texts of 32 tokens in all, 18 distinct: room for 20 is enough."""
    memory = Memory(20 * PER_TOKEN / 2**30)
    for calls in (1, 2):
        packed.PackedTexts(llama.model, memory, TEXTS, [1] * 4).states(2)
        assert memory.spent.tokens == DISTINCT + (calls - 1) * len(TEXTS)


def test_an_interrupted_save_leaves_nothing_behind(llama, monkeypatch):
    memory = Memory()
    batch = llama.batch(TEXTS[:1])
    cache = PrefixCache(llama.model, memory=memory)
    cache.feed(batch.ids, batch.mask)
    monkeypatch.setattr(torch.Tensor, "__setitem__", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        cache.remember()
    monkeypatch.undo()
    assert memory.of(llama.model).find(TEXTS[0]) == []
    testing.assert_memory_changes_nothing(llama, TEXTS, memory)


def _interrupt(*arguments):
    raise KeyboardInterrupt


@pytest.mark.parametrize("trunk", ["lora", "frozen"])
@pytest.mark.parametrize("head", ["q", "v"])
def test_a_reward_may_find_its_bos_there(llama, head, trunk):
    """Texts that start with BOS: nothing is put before them, and no column of padding upsets an empty memory."""
    reward = tiny_reward(llama, head, trunk, layers=3)
    texts = [[llama.bos_token_id, *text] for text in TEXTS]
    expected = torch.stack([reward.score_ids([text]).values[0, -1] for text in texts])
    memory = Memory()
    for _ in range(2):
        torch.testing.assert_close(reward_texts(llama, reward, texts, memory), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("head", ["q", "v"])
def test_some_rows_steered_from_an_empty_memory(llama, head):
    """The steered rows are the shorter ones: padding in front of all that the reward reads."""
    steer = tiny_reward(llama, head, bos_token_id=None).toward(5.0)
    requests = [Request(TEXTS[0], None, 1), Request(TEXTS[1], steer, 2), Request(TEXTS[2][:4], steer, 3)]
    plain, remembered = (TorchEngine(llama, of).sample(requests, 1, 6, Sampling(5)) for of in (None, Memory()))
    assert [of[0].token_ids for of in remembered] == [of[0].token_ids for of in plain]


def test_without_room_everything_is_only_counted(llama):
    memory = Memory(0)
    batch = llama.batch(TEXTS)
    for calls in (1, 2):
        cache = PrefixCache(llama.model, memory=memory)
        cache.feed(batch.ids, batch.mask)
        cache.remember()
        assert memory.spent == Spent(calls * batch.ids.numel(), calls)
    with pytest.raises(errors.InvalidSetting, match="gigabytes"):
        Memory(-1)


@pytest.mark.parametrize("trunk", ["lora", "frozen"])
@pytest.mark.parametrize("head", ["q", "v"])
def test_sampling_from_memory_is_sampling(llama, head, trunk):
    """Twice the same requests, steered: the same texts as without a memory, the second time for fewer tokens."""
    steer = tiny_reward(llama, head, trunk, layers=3).toward(5.0)
    requests = [Request(text[:4], steer, seed) for seed, text in enumerate(TEXTS)]
    requests.append(Request(TEXTS[0][:4], steer, 9, greedy=True, limit=3))
    sampling = Sampling(5)
    plain = TorchEngine(llama).sample(requests, 1, 6, sampling)
    memory = Memory()
    engine = TorchEngine(llama, memory)
    costs = []
    for _ in range(2):
        before = memory.spent
        remembered = engine.sample(requests, 1, 6, sampling)
        costs.append((memory.spent - before).tokens)
        assert [of[0].token_ids for of in remembered] == [of[0].token_ids for of in plain]
    assert costs[1] < costs[0]
    longer = [Request((*of[0].prefix, *of[1][0].token_ids), steer, 1) for of in zip(requests, plain, strict=True)]
    again = [of[0].token_ids for of in engine.sample(longer, 1, 4, sampling)]
    assert again == [of[0].token_ids for of in TorchEngine(llama).sample(longer, 1, 4, sampling)]


def test_a_row_may_be_greedy_short_or_end_at_a_character(llama):
    engine = TorchEngine(llama)
    prefix = TEXTS[0]
    requests = [
        Request(prefix, None, 1),
        Request(prefix, None, 1, greedy=True),
        Request(prefix, None, 1, limit=2),
        Request(prefix, None, 1, until="123456789"),
    ]
    plain, greedy, short, until = (of[0] for of in engine.sample(requests, 1, 8, Sampling(10)))
    alone = engine.sample([Request(prefix, None, 1)], 1, 8, Sampling(10, temperature=0))[0][0]
    assert greedy.token_ids == alone.token_ids != plain.token_ids
    assert (short.token_ids, short.finish_reason) == (plain.token_ids[:2], "length")
    words = [llama.decode([token]) for token in plain.token_ids]
    end = next(place for place, word in enumerate(words) if word[-1] in "123456789")
    assert (until.token_ids, until.finish_reason) == (plain.token_ids[: end + 1], "until")


def test_scores_from_memory_are_scores(llama):
    prefixes, choices = [TEXTS[0], TEXTS[2]], [[[7], [8, 9], [7, 5, 6]], [[10]]]
    flat = [choice for of in choices for choice in of]
    expected = score_continuations(llama, prefixes, [0, 0, 0, 1], flat).logprobs
    memory = Memory()
    for _ in range(2):
        scored = torch.cat(TorchEngine(llama, memory).score(prefixes, choices))
        torch.testing.assert_close(scored, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("trunk", ["lora", "frozen"])
@pytest.mark.parametrize("head", ["q", "v"])
def test_rewards_from_memory_are_rewards(llama, head, trunk):
    reward = tiny_reward(llama, head, trunk, layers=3, bos_token_id=None)
    expected = torch.stack([reward.score_ids([text]).values[0, -1] for text in TEXTS])
    memory = Memory()
    for _ in range(2):
        before = memory.spent.tokens
        torch.testing.assert_close(reward_texts(llama, reward, TEXTS, memory), expected, atol=1e-4, rtol=1e-4)
    assert memory.spent.tokens - before <= 2 * len(TEXTS)  # the last two tokens of each


def test_two_models_do_not_share(llama):
    memory = Memory()
    other = tiny_lm("llama", seed=1)
    for lm in (llama, other):
        testing.assert_memory_changes_nothing(lm, TEXTS, memory)
