"""Scores of continuations and of drafts, against separate forwards."""

import pytest
import torch

from tiny import tiny_reward
from trimtab.best_of import rank
from trimtab.engines.scoring import score_continuations
from trimtab.lm import LanguageModel
from trimtab.testing import separate_rewards

PREFIXES = [[10, 11, 12], [20, 21]]
OWNERS = [0, 0, 1]
CONTINUATIONS = [[5], [6, 7, 8], [9, 30]]


@torch.inference_mode()
def by_hand(frozen, reward, beta, prefix, continuation, top_k):
    """Log-probability and greediness, a whole forward and separate reward calls for every token."""
    total, greedy = 0.0, True
    for place, token in enumerate(continuation):
        text = [*prefix, *continuation[:place]]
        logits = frozen.model(torch.tensor([text]), use_cache=False).logits[0, -1].double()
        kept = range(len(logits)) if top_k is None else logits.topk(top_k).indices.tolist()
        kept = [*kept, *([token] if token not in kept else [])]
        said = separate_rewards(reward, text, kept)[:, 0].double().clamp(0, 1)
        steered = logits[kept] + beta * said
        total += steered.log_softmax(0)[kept.index(token)].item()
        greedy &= kept[int(steered.argmax())] == token
    return total, greedy


@pytest.mark.parametrize("top_k", [2, 8])
def test_steered_scores_equal_separate_forwards(frozen, head, top_k):
    reward = tiny_reward(frozen, head)
    found = score_continuations(frozen, PREFIXES, OWNERS, CONTINUATIONS, reward.toward(3.0), top_k)
    for n, (owner, continuation) in enumerate(zip(OWNERS, CONTINUATIONS, strict=True)):
        expected, greedy = by_hand(frozen, reward, 3.0, PREFIXES[owner], continuation, top_k)
        assert found.logprobs[n].item() == pytest.approx(expected, abs=2e-4)
        assert bool(found.greedy[n]) == greedy


def test_over_the_whole_vocabulary_too(llama):
    reward = tiny_reward(llama, "q")
    found = score_continuations(llama, PREFIXES, OWNERS, CONTINUATIONS, reward.toward(3.0), None)
    expected = [
        by_hand(llama, reward, 3.0, PREFIXES[o], c, None)[0] for o, c in zip(OWNERS, CONTINUATIONS, strict=True)
    ]
    assert found.logprobs.tolist() == pytest.approx(expected, abs=2e-4)


def test_greedy_marks_what_greedy_decoding_writes(llama):
    lm = LanguageModel(llama)
    steer = tiny_reward(llama, "q").toward(3.0)
    written = lm.generate("w1 w2 w3", steer, temperature=0, max_new_tokens=3).token_ids
    other = [*written[:-1], (written[-1] + 1) % 60]
    found = score_continuations(llama, [llama.encode("w1 w2 w3")], [0, 0], [written, other], steer, 20)
    assert found.greedy.tolist() == [True, False]
    plain = lm.generate("w1 w2 w3", temperature=0, max_new_tokens=3).token_ids
    assert score_continuations(llama, [llama.encode("w1 w2 w3")], [0], [plain]).greedy.tolist() == [True]


def test_drafts_are_ranked_by_the_reward_of_the_whole_text(frozen, head):
    lm, reward = LanguageModel(frozen), tiny_reward(frozen, head)
    by = reward.toward(2.0) + reward.away(1.0, "calm")
    best = lm.best_of("w1 w2", 6, by, max_new_tokens=4, seed=1)
    drafts = lm.generate("w1 w2", n=6, max_new_tokens=4, seed=1)
    assert {draft.text for draft in drafts} == {draft.text for draft in best.drafts}
    expected = []
    for draft in drafts:
        ids = [*frozen.encode("w1 w2"), *draft.token_ids]
        ids = ids[:-1] if ids[-1] in frozen.eos_token_ids else ids
        kind, calm = separate_rewards(reward, ids[:-1], ids[-1:])[0].tolist()
        expected.append(2 * kind - calm)
    assert list(best.scores) == pytest.approx(sorted(expected, reverse=True), abs=1e-4)
    assert best.text == drafts[max(range(6), key=expected.__getitem__)].text


def test_drafts_of_several_prompts_and_a_reward_for_a_steer(llama):
    lm, reward = LanguageModel(llama), tiny_reward(llama, "q")
    both = lm.best_of(["w1 w2", "w3"], 3, reward, max_new_tokens=4, seed=1)
    alone = lm.best_of("w3", 3, reward.toward(1.0), max_new_tokens=4, seed=1)
    assert both[1].text == alone.text
    assert [one.scores == tuple(sorted(one.scores, reverse=True)) for one in both] == [True, True]


def test_ranking_a_draft_that_is_empty_asks_about_the_prompt(llama):
    lm, reward = LanguageModel(llama), tiny_reward(llama, "q")
    (draft,) = lm.generate(["w1 w2"], max_new_tokens=1, seed=0)
    draft.token_ids = [2]  # EOS at once
    (best,) = rank(llama, reward.toward(1.0), [[10, 11]], [[draft]])
    assert best.scores[0] == pytest.approx(separate_rewards(reward, [10], [11])[0, 0].item(), abs=1e-5)
