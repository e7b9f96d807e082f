"""A draft head computes the same in training, all places at once, as in drafting, step by step."""

import pytest
import torch
from transformers import DynamicCache

from draft_heads import tiny_draft
from tiny import tiny_lm
from trimtab.models.kv_cache import KVCache
from trimtab.training.draft_objective import DraftTask
from trimtab.training.draft_reads import padded

TEXTS = [[10, 11, 12, 13, 14, 15, 16, 17], [20, 21, 22, 23, 24]]
STEPS = 3


def guesses_by_hand(lm, head, text, place):
    """Return the logits of each step behind one place, from the text up to it, without a cache of the text."""
    with torch.inference_mode():
        states = lm.model(torch.tensor([text[: place + 1]]), output_hidden_states=True, use_cache=False).hidden_states
        cache = DynamicCache()
        state = head([states[tap] for tap in head.taps], cache=cache)[:, -1:]
        found = []
        for step in range(1, min(STEPS, len(text) - 1 - place) + 1):
            guess = head.guess(state, torch.tensor([[text[place + step]]]), None, cache)
            found.append(head.logits(guess)[0, 0])
            state = head.onward(guess)
    return found


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2"])
def test_training_guesses_what_drafting_guesses(family):
    lm = tiny_lm(family)
    head = tiny_draft(lm).head
    task, (ids, mask) = DraftTask(lm, head, STEPS, top_k=6), padded(TEXTS)
    with torch.inference_mode():
        found = task.guesses(task.read(ids), ids, mask)
    for row, text in enumerate(TEXTS):
        for place in range(len(text) - 1):
            for step, expected in enumerate(guesses_by_hand(lm, head, text, place)):
                torch.testing.assert_close(found[step][row, place], expected, atol=1e-4, rtol=1e-4)


def test_the_cache_of_a_model_holds_what_the_head_reads():
    """Fed in parts and taken back, as a decode loop does."""
    lm = tiny_lm("qwen2")
    head = tiny_draft(lm).head
    with torch.inference_mode():
        whole, parts = KVCache(lm.model, [head]), KVCache(lm.model, [head])
        whole.feed(torch.tensor([TEXTS[0]]))
        parts.feed(torch.tensor([TEXTS[0][:3]]))
        parts.feed(torch.tensor([[30, 31, 32]]))
        parts.retract([3])
        parts.feed(torch.tensor([TEXTS[0][3:]]))
    for found, expected in zip(parts.keys_values(head), whole.keys_values(head), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(parts.recent(head, 1), whole.recent(head, 1), atol=1e-4, rtol=1e-4)


def test_the_loss_is_the_cross_entropy_from_the_model():
    """By hand in float64, over the candidates that the head knows, for one text."""
    lm = tiny_lm("llama")
    head = tiny_draft(lm).head
    task, (ids, mask) = DraftTask(lm, head, STEPS, top_k=6), padded(TEXTS[:1])
    known = {token: place for place, token in enumerate(head.tokens.tolist())}
    total = weight = 0.0
    with torch.inference_mode():
        loss = task(ids, mask, task.read(ids))
        logits = lm.model(ids).logits[0]
        for place in range(len(TEXTS[0]) - 1):
            for step, guess in enumerate(guesses_by_hand(lm, head, TEXTS[0], place), start=1):
                best = logits[place + step].double().topk(6)
                shares = best.values.softmax(-1)
                logprobs = guess.double().log_softmax(-1)
                for token, share in zip(best.indices.tolist(), shares.tolist(), strict=True):
                    if token in known:
                        total -= share * float(logprobs[known[token]])
                        weight += share
    assert float(loss) == pytest.approx(total / weight, rel=1e-4)
