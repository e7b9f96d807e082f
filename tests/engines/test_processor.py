import pytest
import torch

import trimtab
from tiny import tiny_reward
from trimtab.errors import InvalidSetting
from trimtab.testing import separate_rewards

PROMPTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9"]


def padded(lm):
    batch = lm.batch([lm.codec.encode_prompt(prompt) for prompt in PROMPTS])
    return {"input_ids": batch.ids, "attention_mask": batch.mask.long(), "pad_token_id": lm.pad_token_id}


def generate(lm, processor, tokens=8, **options):
    inputs = padded(lm)
    written = lm.model.generate(**inputs, logits_processor=[processor], max_new_tokens=tokens, **options)
    return written[:, inputs["input_ids"].shape[1] :].tolist()


def test_greedy_search_writes_the_text_of_the_torch_engine(frozen, family_lm, reward):
    steer = reward.toward(6.0) + reward.away(2.0, "calm")
    theirs = generate(frozen, trimtab.SteeringProcessor(steer, top_k=5), do_sample=False)
    ours = family_lm.generate(PROMPTS, steer, top_k=5, temperature=0, max_new_tokens=8)
    for found, expected in zip(theirs, ours, strict=True):
        assert found[: len(expected.token_ids)] == expected.token_ids


def test_steered_logits_equal_the_rule_with_separate_rewards(frozen, reward):
    """The rows are re-ordered between the steps, as beam search does."""
    processor = trimtab.SteeringProcessor(reward.toward(4.0), top_k=5)
    ids = torch.tensor([[10, 11, 12], [20, 21, 22]])
    for extend in ([1, 0], [0, 0], [1, 1]):
        scores = frozen.model(ids, use_cache=False).logits[:, -1]
        steered = processor(ids, scores)
        for row, prefix in enumerate(ids.tolist()):
            best = scores[row].topk(5).indices.tolist()
            rewards = separate_rewards(reward, prefix, best)[:, 0].clamp(0, 1)
            torch.testing.assert_close(steered[row, best], scores[row, best] + 4.0 * rewards, atol=1e-4, rtol=1e-4)
            assert steered[row].isfinite().sum() == 5
        ids = torch.cat([ids[extend], torch.tensor([[30], [31]])], dim=1)


def test_beam_scores_are_sums_of_steered_log_probabilities(llama):
    """Each log-probability is recomputed without a cache."""
    reward = tiny_reward(llama, "v")
    ids = torch.tensor([llama.codec.encode_prompt(PROMPTS[0])])
    found = llama.model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        logits_processor=[trimtab.SteeringProcessor(reward.toward(5.0), top_k=4)],
        num_beams=4,
        num_return_sequences=4,
        length_penalty=0.0,
        max_new_tokens=5,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        output_scores=True,
        return_dict_in_generate=True,
    )
    for sequence, score in zip(found.sequences.tolist(), found.sequences_scores.tolist(), strict=True):
        total = 0.0
        for place in range(ids.shape[1], len(sequence)):
            prefix = sequence[:place]
            z = llama.model(torch.tensor([prefix]), use_cache=False).logits[0, -1].log_softmax(-1)
            best = z.topk(4).indices.tolist()
            steered = z[best] + 5.0 * separate_rewards(reward, prefix, best)[:, 0].clamp(0, 1)
            total += steered[best.index(sequence[place])].item()
        assert score == pytest.approx(total, abs=1e-3)


def test_a_processor_can_be_used_again_for_another_prompt(frozen, reward):
    used = trimtab.SteeringProcessor(reward.toward(6.0), top_k=5)
    first = generate(frozen, used, do_sample=False)
    generate(frozen, used, tokens=3, do_sample=False, num_beams=3)
    assert generate(frozen, used, do_sample=False) == first
    assert generate(frozen, trimtab.SteeringProcessor(reward.toward(6.0), top_k=5), do_sample=False) == first


def test_sampling_over_one_candidate_is_greedy_search(llama, lm):
    torch.manual_seed(0)
    reward = tiny_reward(llama, "q")
    written = generate(llama, trimtab.SteeringProcessor(reward.toward(1.0), top_k=1), do_sample=True)
    greedy = lm.generate(PROMPTS, temperature=0, max_new_tokens=8)
    for found, expected in zip(written, greedy, strict=True):
        assert found[: len(expected.token_ids)] == expected.token_ids


def test_rad_over_the_whole_vocabulary_and_an_empty_steer_are_refused(llama):
    with pytest.raises(InvalidSetting, match="runs every candidate"):
        trimtab.SteeringProcessor(tiny_reward(llama, "v").toward(1.0), top_k=None)
    with pytest.raises(InvalidSetting, match="without terms"):
        trimtab.SteeringProcessor(trimtab.Steer(()))
