"""Scores of continuations and rewards of texts, against separate forward calls."""

import pytest
import torch

from tiny import tiny_reward
from trimtab.engines.torch.engine import TorchEngine
from trimtab.engines.torch.reading import read_texts
from trimtab.engines.torch.scoring import reward_texts, score_continuations, score_packed
from trimtab.errors import InvalidPrompt
from trimtab.models.prefix_cache import PrefixCache
from trimtab.models.usage import Usage
from trimtab.testing import separate_rewards

PREFIXES = [[10, 11, 12], [20, 21]]
OWNERS = [0, 0, 1]
CONTINUATIONS = [[5], [6, 7, 8], [9, 30]]
TEXTS = [[5, 6, 7, 8, 9, 10, 11, 12], [5, 6, 7, 20, 21], [5, 6, 7, 8, 9, 30], [40, 41, 42, 43, 44, 45, 46]]


@torch.inference_mode()
def by_hand(frozen, reward, beta, prefix, continuation, top_k, scale=lambda logits, added: 1.0):
    """Return the log-probability and greediness: a forward call and separate rewards for every token."""
    total, greedy = 0.0, True
    for place, token in enumerate(continuation):
        text = [*prefix, *continuation[:place]]
        logits = frozen.model(torch.tensor([text]), use_cache=False).logits[0, -1].double()
        kept = range(len(logits)) if top_k is None else logits.topk(top_k).indices.tolist()
        kept = [*kept, *([token] if token not in kept else [])]
        said = separate_rewards(reward, text, kept)[:, 0].double().clamp(0, 1)
        steered = logits[kept] + scale(logits[kept], beta * said) * beta * said
        total += steered.log_softmax(0)[kept.index(token)].item()
        greedy &= kept[int(steered.argmax())] == token
    return total, greedy


@pytest.mark.parametrize("most", [1 << 26, 1, 400])
def test_unsteered_scores_equal_one_forward_call_over_the_whole_text(frozen, family_lm, most, monkeypatch):
    """Also where the logits of all tokens would be too many for one call."""
    monkeypatch.setattr("trimtab.engines.torch.scoring.MAX_LOGITS", most)
    prefixes, choices = [[10, 11, 12], [20]], [[[5], [6, 7, 8, 40, 41]], [[9, 9]]]
    found = family_lm.engine.score(prefixes, choices)
    for prefix, of_prefix, scored in zip(prefixes, choices, found, strict=True):
        for choice, score, greedy in zip(of_prefix, scored.logprobs.tolist(), scored.greedy.tolist(), strict=True):
            whole = torch.tensor([[*prefix, *choice]])
            with torch.inference_mode():
                logits = frozen.model(whole, use_cache=False).logits[0].double().log_softmax(-1)
            steps = [(logits[len(prefix) - 1 + place], token) for place, token in enumerate(choice)]
            assert score == pytest.approx(sum(step[token].item() for step, token in steps), abs=1e-4)
            assert greedy == all(int(step.argmax()) == token for step, token in steps)


@pytest.mark.parametrize("top_k", [2, 8])
def test_steered_scores_equal_separate_forward_calls(frozen, head, top_k):
    reward = tiny_reward(frozen, head)
    found = score_continuations(frozen, PREFIXES, OWNERS, CONTINUATIONS, reward.toward(3.0), top_k)
    for n, (owner, continuation) in enumerate(zip(OWNERS, CONTINUATIONS, strict=True)):
        expected, greedy = by_hand(frozen, reward, 3.0, PREFIXES[owner], continuation, top_k)
        assert found.logprobs[n].item() == pytest.approx(expected, abs=2e-4)
        assert bool(found.greedy[n]) == greedy


def test_a_budget_scales_the_scores_of_each_step(frozen, head):
    """The scale is found by bisection in float64."""

    def scale(logits, added):
        low, high = 0.0, 1.0
        for _ in range(40):
            middle = (low + high) / 2
            steered, base = (logits + middle * added).log_softmax(0), logits.log_softmax(0)
            low, high = (middle, high) if (steered.exp() * (steered - base)).sum() <= 0.1 else (low, middle)
        return low

    reward = tiny_reward(frozen, head)
    found = score_continuations(frozen, PREFIXES, OWNERS, CONTINUATIONS, reward.toward(9.0), 8, max_kl=0.1)
    for n, (owner, continuation) in enumerate(zip(OWNERS, CONTINUATIONS, strict=True)):
        expected, greedy = by_hand(frozen, reward, 9.0, PREFIXES[owner], continuation, 8, scale)
        assert found.logprobs[n].item() == pytest.approx(expected, abs=1e-3)
        assert bool(found.greedy[n]) == greedy


def test_steered_scores_over_the_whole_vocabulary_equal_separate_forward_calls(llama):
    reward = tiny_reward(llama, "q")
    found = score_continuations(llama, PREFIXES, OWNERS, CONTINUATIONS, reward.toward(3.0), None)
    expected = [
        by_hand(llama, reward, 3.0, PREFIXES[o], c, None)[0] for o, c in zip(OWNERS, CONTINUATIONS, strict=True)
    ]
    assert found.logprobs.tolist() == pytest.approx(expected, abs=2e-4)


def test_only_the_greedy_continuation_is_marked_greedy(llama, lm):
    steer = tiny_reward(llama, "q").toward(3.0)
    written = lm.generate("w1 w2 w3", steer, temperature=0, max_new_tokens=3).token_ids
    other = [*written[:-1], (written[-1] + 1) % 60]
    prompt = llama.codec.encode_prompt("w1 w2 w3")
    found = score_continuations(llama, [prompt], [0, 0], [written, other], steer, 20)
    assert found.greedy.tolist() == [True, False]
    plain = lm.generate("w1 w2 w3", temperature=0, max_new_tokens=3).token_ids
    assert score_continuations(llama, [prompt], [0], [plain]).greedy.tolist() == [True]


def test_scores_with_a_prefix_cache_equal_scores_without_one(llama):
    prefixes, choices = [TEXTS[0], TEXTS[2]], [[[7], [8, 9], [7, 5, 6]], [[10]]]
    expected = score_continuations(llama, prefixes, [0, 0, 0, 1], [choice for of in choices for choice in of])
    engine = TorchEngine(llama, PrefixCache())
    for _ in range(2):
        scored = engine.score(prefixes, choices)
        found = torch.cat([of_prefix.logprobs for of_prefix in scored])
        torch.testing.assert_close(found, expected.logprobs, atol=1e-4, rtol=1e-4)
        assert torch.equal(torch.cat([of_prefix.greedy for of_prefix in scored]), expected.greedy)


def test_a_prefix_is_encoded_once_for_all_its_continuations(llama):
    usage = Usage()
    score_continuations(llama, PREFIXES, OWNERS, CONTINUATIONS, usage=usage)
    assert usage == Usage(2 * 3 + 3 * 2, 2)  # two padded prefixes; all but the last token of three continuations


@pytest.mark.parametrize("trunk", ["lora", "frozen"])
def test_rewards_with_a_prefix_cache_equal_rewards_of_whole_texts(llama, head, trunk):
    reward = tiny_reward(llama, head, trunk, layers=3, bos_token_id=None)
    expected = torch.stack([reward.score_ids([text]).values[0, -1] for text in TEXTS])
    prefix_cache, usage = PrefixCache(), Usage()
    for _ in range(2):
        before = usage.tokens
        found = reward_texts(llama, reward, TEXTS, prefix_cache, usage)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert usage.tokens - before <= 2 * len(TEXTS)  # the last two tokens of each


@pytest.mark.parametrize("trunk", ["lora", "frozen"])
def test_texts_that_start_with_bos_get_no_second_bos(llama, head, trunk):
    """No column of padding upsets an empty prefix cache."""
    reward = tiny_reward(llama, head, trunk, layers=3)
    texts = [[llama.bos_token_id, *text] for text in TEXTS]
    expected = torch.stack([reward.score_ids([text]).values[0, -1] for text in texts])
    prefix_cache = PrefixCache()
    for _ in range(2):
        torch.testing.assert_close(reward_texts(llama, reward, texts, prefix_cache), expected, atol=1e-4, rtol=1e-4)


def test_a_text_longer_than_the_rewards_context_is_refused(llama, lm):
    reward = tiny_reward(llama, "q")
    assert lm.engine.rewards(reward, [[5] * 63]).shape == (1, 2)
    with pytest.raises(InvalidPrompt, match="64 tokens"):
        lm.engine.rewards(reward, [[5, 6], [5] * 64])


def test_states_are_those_two_thirds_up_the_layers(frozen, family_lm):
    found = family_lm.engine.states(TEXTS, [1, 3, 2, 7])
    for states, text, count in zip(found, TEXTS, [1, 3, 2, 7], strict=True):
        with torch.inference_mode():
            whole = frozen.body(torch.tensor([text]), use_cache=False, output_hidden_states=True).hidden_states[2]
        torch.testing.assert_close(states, whole[0, -count:], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("most", [1 << 26, 400])
def test_texts_of_other_lengths_are_not_read_beyond_the_context(frozen, most, monkeypatch):
    """A whole context beside a short text behind a long prefix: padded, this one would be longer than the context."""
    monkeypatch.setattr("trimtab.engines.torch.scoring.MAX_LOGITS", most)
    room, cycle = frozen.context_length, [5 + n % 50 for n in range(200)]
    prefixes, continuations = [[10], cycle[: room - 3]], [cycle[:room], [7, 8, 9, 10]]
    found = score_continuations(frozen, prefixes, [0, 1], continuations)
    for n, (prefix, continuation) in enumerate(zip(prefixes, continuations, strict=True)):
        alone = score_continuations(frozen, [prefix], [0], [continuation])
        assert found.logprobs[n].item() == pytest.approx(alone.logprobs.item(), abs=1e-2)
        with torch.inference_mode():
            logits = frozen.model(torch.tensor([[*prefix, *continuation][:-1]]), use_cache=False).logits[0].double()
        places = logits[len(prefix) - 1 :].log_softmax(-1)
        expected = sum(place[token].item() for place, token in zip(places, continuation, strict=True))
        assert found.logprobs[n].item() == pytest.approx(expected, abs=1e-2)


@pytest.mark.parametrize("trunk", ["lora", "frozen"])
def test_steered_texts_of_other_lengths_end_apart(frozen, trunk):
    reward = tiny_reward(frozen, "q", trunk, **({"bos_token_id": None} if trunk == "frozen" else {}))
    room, cycle = reward.context_length - reward.extra_tokens, [5 + n % 50 for n in range(200)]
    prefixes, continuations = [[10], cycle[: room - 3]], [cycle[: room - 1], [7, 8, 9]]
    found = score_continuations(frozen, prefixes, [0, 1], continuations, reward.toward(3.0), 6)
    for n, (prefix, continuation) in enumerate(zip(prefixes, continuations, strict=True)):
        alone = score_continuations(frozen, [prefix], [0], [continuation], reward.toward(3.0), 6)
        assert found.logprobs[n].item() == pytest.approx(alone.logprobs.item(), abs=2e-3)
        assert bool(found.greedy[n]) == bool(alone.greedy)
    with pytest.raises(InvalidPrompt, match=f"got a text of {room + 1} tokens to score, expected at most {room}"):
        score_continuations(frozen, [[10]], [0], [cycle[:room]], reward.toward(3.0), 6)


def test_a_text_longer_than_the_context_is_not_scored(frozen):
    room = frozen.context_length
    score_continuations(frozen, [[10]], [0], [[7] * room])
    with pytest.raises(InvalidPrompt, match=f"got a text of {room + 2} tokens to score, expected at most {room + 1}"):
        score_continuations(frozen, [[10]], [0], [[7] * (room + 1)])
    with pytest.raises(InvalidPrompt, match=f"got a text of {room + 2} tokens"):
        score_packed(frozen, [[10]], [0], [[7] * (room + 1)], PrefixCache())
    with pytest.raises(InvalidPrompt, match=f"got a text of {room + 2} tokens"):
        read_texts(frozen, [[10] * (room + 2)])
