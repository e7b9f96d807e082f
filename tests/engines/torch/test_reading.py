"""What the model thinks of given texts, against separate forward calls."""

import pytest
import torch

from tiny import tiny_reward
from trimtab.engines.torch import reading
from trimtab.engines.torch.reading import read_texts
from trimtab.models.usage import Usage
from trimtab.testing import separate_rewards

TEXTS = [[10, 11, 12, 5, 9], [20], [20, 21], [30, 31, 32, 33, 34, 35, 36]]


@torch.inference_mode()
def logits_by_hand(frozen, prefix):
    return frozen.model(torch.tensor([prefix]), use_cache=False).logits[0, -1].double()


@pytest.mark.parametrize("top_k", [3, None])
def test_unsteered_choices_equal_one_forward_call_for_each_token(frozen, top_k):
    for text, choices in zip(TEXTS, read_texts(frozen, TEXTS, top_k=top_k), strict=True):
        assert [choice.token_id for choice in choices] == text[1:]
        for place, choice in enumerate(choices, start=1):
            logits = logits_by_hand(frozen, text[:place])
            best = logits.topk(top_k or len(logits)).indices.tolist()
            expected = best if text[place] in best else [*best, text[place]]
            assert sorted(choice.candidates.tolist()) == sorted(expected)
            assert int(choice.candidates[choice.column]) == text[place]
            by_hand = logits.log_softmax(-1)[choice.candidates]
            torch.testing.assert_close(choice.base_logprobs.double(), by_hand, atol=1e-4, rtol=0)
            among = logits[choice.candidates].log_softmax(-1)
            torch.testing.assert_close(choice.steered_logprobs.double(), among, atol=1e-4, rtol=0)


def test_steered_choices_equal_separate_rewards_for_each_token(frozen, head):
    reward, beta, top_k = tiny_reward(frozen, head), 3.0, 4
    for text, choices in zip(TEXTS, read_texts(frozen, TEXTS, reward.toward(beta), top_k), strict=True):
        assert [choice.token_id for choice in choices] == text[1:]
        for place, choice in enumerate(choices, start=1):
            logits = logits_by_hand(frozen, text[:place])
            kept = choice.candidates.tolist()
            assert set(logits.topk(top_k).indices.tolist()) | {text[place]} == set(kept)
            said = separate_rewards(reward, text[:place], kept)[:, 0].double()
            steered = (logits[kept] + beta * said.clamp(0, 1)).log_softmax(-1)
            torch.testing.assert_close(choice.steered_logprobs.double(), steered, atol=2e-4, rtol=0)
            rewards, _ = choice.rewards.values()
            torch.testing.assert_close(rewards.double(), said, atol=1e-4, rtol=0)


def test_a_budget_bounds_every_step(frozen):
    steer = tiny_reward(frozen, "q").toward(50.0)
    free, bound = (read_texts(frozen, TEXTS, steer, 5, max_kl=budget) for budget in (None, 0.01))
    assert max(choice.kl for text in free for choice in text) > 0.02
    assert all(choice.kl <= 0.0101 for text in bound for choice in text)


def test_texts_are_read_in_groups_that_fit_into_memory(frozen, monkeypatch):
    together, few = Usage(), Usage()
    expected = read_texts(frozen, TEXTS, top_k=3, usage=together)
    monkeypatch.setattr(reading, "MAX_LOGITS", 64 * 10)
    found = read_texts(frozen, TEXTS, top_k=3, usage=few)
    assert (together.calls, few.calls) == (1, 3)
    for one, other in zip((c for text in expected for c in text), (c for text in found for c in text), strict=True):
        assert one.token_id == other.token_id
        torch.testing.assert_close(one.base_logprobs, other.base_logprobs, atol=1e-5, rtol=0)


def test_a_long_text_is_read_in_parts(frozen, monkeypatch):
    expected, usage = read_texts(frozen, TEXTS, top_k=3), Usage()
    monkeypatch.setattr(reading, "MAX_LOGITS", 64 * 2)
    found = read_texts(frozen, TEXTS, top_k=3, usage=usage)
    assert usage.calls == sum((len(text) - 1 + 1) // 2 for text in TEXTS)
    for one, other in zip((c for text in expected for c in text), (c for text in found for c in text), strict=True):
        assert one.token_id == other.token_id
        torch.testing.assert_close(one.base_logprobs, other.base_logprobs, atol=1e-5, rtol=0)


def test_an_engine_reads_its_texts_alone_where_no_text_may_depend_on_others(llama):
    from trimtab.engines.torch.engine import TorchEngine

    engine = TorchEngine(llama, batch_invariant=True)
    together, alone = engine.read(TEXTS, top_k=3), [engine.read([text], top_k=3)[0] for text in TEXTS]
    for one, other in zip((c for text in together for c in text), (c for text in alone for c in text), strict=True):
        assert torch.equal(one.base_logprobs, other.base_logprobs)
