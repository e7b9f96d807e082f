import copy

import pytest
import torch
from transformers import AutoModelForCausalLM

import trimtab
from forward_counter import ForwardCounter
from tiny import FAMILIES, tiny_reward
from trimtab.engines.torch.guide import Guide
from trimtab.errors import InvalidPrompt, InvalidSetting, NonFiniteLogits, RewardMismatch
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.kv_cache import KVCache
from trimtab.testing import WordCodec, WordReward, separate_rewards

PROMPTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9"]


def padded(lm):
    batch = lm.batch([lm.codec.encode_prompt(prompt) for prompt in PROMPTS])
    return {"input_ids": batch.ids, "attention_mask": batch.mask.long(), "pad_token_id": lm.pad_token_id}


def generate(lm, processor, tokens=8, **options):
    inputs = padded(lm)
    written = lm.model.generate(**inputs, logits_processor=[processor], max_new_tokens=tokens, **options)
    return written[:, inputs["input_ids"].shape[1] :].tolist()


@pytest.mark.parametrize("settings", [{"top_k": 5}, {"top_k": 12, "top_p": 0.6}])
def test_greedy_search_writes_the_text_of_the_torch_engine(frozen, family_lm, reward, settings):
    steer = reward.toward(6.0) + reward.away(2.0, "calm")
    theirs = generate(frozen, trimtab.SteeringProcessor(steer, **settings), do_sample=False)
    ours = family_lm.generate(PROMPTS, steer, temperature=0, max_new_tokens=8, **settings)
    for found, expected in zip(theirs, ours, strict=True):
        assert found[: len(expected.token_ids)] == expected.token_ids


def test_a_batch_may_be_padded_with_another_token(frozen, reward):
    batch = frozen.batch([frozen.codec.encode_prompt(prompt) for prompt in PROMPTS])
    scores = torch.randn(len(PROMPTS), frozen.vocabulary_size, generator=torch.Generator().manual_seed(0))
    other = trimtab.SteeringProcessor(reward.toward(6.0), top_k=5, pad_token_id=63)
    usual = trimtab.SteeringProcessor(reward.toward(6.0), top_k=5)
    found = other(batch.ids.masked_fill(~batch.mask, 63), scores)
    torch.testing.assert_close(found, usual(batch.ids, scores))


def test_a_budget_writes_the_text_of_the_torch_engine(frozen, family_lm, reward):
    steer, settings = reward.toward(9.0), {"top_k": 5, "max_kl": 0.1}
    theirs = generate(frozen, trimtab.SteeringProcessor(steer, **settings), do_sample=False)
    ours = family_lm.generate(PROMPTS, steer, temperature=0, max_new_tokens=8, **settings)
    for found, expected in zip(theirs, ours, strict=True):
        assert found[: len(expected.token_ids)] == expected.token_ids
    assert any(token.choice.scale < 1 for written in ours for token in written.trace)


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


@pytest.mark.parametrize(("head", "method"), [("q", "feed"), ("v", "feed"), ("v", "propose")])
def test_a_call_that_is_interrupted_leaves_no_state(llama, head, method, monkeypatch):
    reward = tiny_reward(llama, head)
    used, text = trimtab.SteeringProcessor(reward.toward(6.0), top_k=5), [10, 11, 12, 13]
    scores = torch.randn(1, llama.vocabulary_size, generator=torch.Generator().manual_seed(0))
    used(torch.tensor([text]), scores)
    whole = getattr(KVCache, method)

    def interrupted(self, *given):
        whole(self, *given)
        self._caches[0].crop(-1)  # not all layers have got as far
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(KVCache, method, interrupted)
        with pytest.raises(KeyboardInterrupt):
            used(torch.tensor([[*text, 14]]), scores)
    fresh = trimtab.SteeringProcessor(reward.toward(6.0), top_k=5)
    for ids in (text, [*text, 14]):
        torch.testing.assert_close(used(torch.tensor([ids]), scores), fresh(torch.tensor([ids]), scores))


@pytest.mark.parametrize("settings", [{"top_k": 1}, {"top_k": None, "top_p": 1e-9}])
def test_one_candidate_is_refused(llama, settings):
    processor = trimtab.SteeringProcessor(tiny_reward(llama, "q").toward(1.0), **settings)
    with pytest.raises(InvalidSetting, match="of one candidate, it cannot choose another"):
        generate(llama, processor, do_sample=True)


def test_rad_over_the_whole_vocabulary_and_an_empty_steer_are_refused(llama):
    with pytest.raises(InvalidSetting, match="runs every candidate"):
        trimtab.SteeringProcessor(tiny_reward(llama, "v").toward(1.0), top_k=None)
    with pytest.raises(InvalidSetting, match="a steer of no rewards"):
        trimtab.SteeringProcessor(trimtab.Steer(()))


def other_model(vocabulary):
    """A tiny model of another family of tokens: its vocabulary has this size."""
    torch.manual_seed(0)
    config = copy.deepcopy(FAMILIES["llama"])
    config.vocab_size = vocabulary
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("vocabulary", [40, 65, 64 + 1000, 5000])
@pytest.mark.parametrize("top_k", [5, None])
def test_a_model_with_another_number_of_tokens_is_refused_at_the_first_call(llama, vocabulary, top_k):
    processor = trimtab.SteeringProcessor(tiny_reward(llama, "q").toward(6.0), top_k=top_k)
    with pytest.raises(RewardMismatch, match=rf"{vocabulary} logits.* 64"):
        other_model(vocabulary).generate(
            torch.tensor([[5, 6]]), logits_processor=[processor], max_new_tokens=4, do_sample=False, pad_token_id=0
        )


def test_a_tokenizer_is_compared_and_then_any_padding_will_do(llama):
    steer = tiny_reward(llama, "q").toward(6.0)
    processor = trimtab.SteeringProcessor(steer, top_k=5, tokenizer=llama.tokenizer)
    assert processor(torch.tensor([[5, 6]]), torch.randn(1, 1064))[0, :64].isfinite().sum() == 5
    with pytest.raises(RewardMismatch, match="expected 64"):
        processor(torch.tensor([[5, 6]]), torch.randn(1, 40))
    other = copy.deepcopy(llama.tokenizer)
    other.add_tokens(["another"])
    with pytest.raises(RewardMismatch, match="was trained for the tokenizer"):
        trimtab.SteeringProcessor(steer, tokenizer=other)


def test_a_reward_of_another_class_needs_the_tokenizer(llama):
    steer = WordReward(WordCodec(["good", "bad"]), {"good": 1.0}).toward(2.0)
    with pytest.raises(InvalidSetting, match=r"'words'.*expected tokenizer="):
        trimtab.SteeringProcessor(steer, top_k=2)
    with pytest.raises(RewardMismatch, match="got the vocabulary"):
        trimtab.SteeringProcessor(steer, top_k=2, tokenizer=llama.tokenizer)


def test_logits_that_are_not_finite_are_an_error(llama):
    processor = trimtab.SteeringProcessor(tiny_reward(llama, "q").toward(6.0), top_k=5)
    with pytest.raises(NonFiniteLogits, match="language model"):
        processor(torch.tensor([[5, 6]]), torch.full((1, 64), torch.nan))


def test_every_reward_of_a_steer_is_compared(llama):
    wide = FrozenLM(other_model(5000), llama.tokenizer, "wide")
    both = tiny_reward(llama, "q").toward(6.0) + tiny_reward(wide, "q").toward(1.0)
    with pytest.raises(RewardMismatch, match="5000 logits"):
        trimtab.SteeringProcessor(both)(torch.tensor([[5, 6]]), torch.zeros(1, 5000))
    trimtab.SteeringProcessor(both)(torch.tensor([[5, 6]]), torch.zeros(1, 64))


@pytest.mark.parametrize("top_k", [64, 20])
def test_spare_rows_of_a_padded_vocabulary_are_never_candidates(llama, reward, top_k):
    processor = trimtab.SteeringProcessor(tiny_reward(llama, "v").toward(6.0), top_k=top_k)
    scores = torch.randn(1, 128, generator=torch.Generator().manual_seed(0))
    scores[:, 64:] = 100.0
    steered = processor(torch.tensor([[5, 6]]), scores)
    assert steered.shape == (1, 128)
    assert steered[:, 64:].isneginf().all()
    assert steered[:, :64].isfinite().sum() == top_k


def test_embeddings_without_ids_are_refused_with_the_reason(llama):
    processor = trimtab.SteeringProcessor(tiny_reward(llama, "q").toward(6.0))
    embeddings = llama.model.get_input_embeddings()(torch.tensor([[5, 6, 7]]))
    with pytest.raises(InvalidSetting, match="inputs_embeds without input_ids"):
        llama.model.generate(inputs_embeds=embeddings, logits_processor=[processor], max_new_tokens=4, pad_token_id=0)


@pytest.mark.parametrize(
    "options",
    [{"steer": "sentiment"}, {"top_k": "5"}, {"top_p": "0.5"}, {"pad_token_id": 1.5}, {"max_kl": -1}, {"top_q": 1}],
)
def test_an_argument_of_another_type_is_our_error(llama, options):
    with pytest.raises(InvalidSetting):
        trimtab.SteeringProcessor(**{"steer": tiny_reward(llama, "q").toward(1.0), **options})


ASSISTED = ["plain", "prompt lookup", "another model", "the same model"]


def assisted(llama, head, kind, **options):
    """Return the text of assisted generation, the calls of the model, and how often the prompt was read."""
    noisy = copy.deepcopy(llama.model)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in noisy.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    helper = {
        "plain": {},
        "prompt lookup": {"prompt_lookup_num_tokens": 4},
        "another model": {"assistant_model": noisy},
        "the same model": {"assistant_model": copy.deepcopy(llama.model)},
    }[kind]
    processor = trimtab.SteeringProcessor(tiny_reward(llama, head).toward(6.0), top_k=5)
    ids, prompts = torch.tensor([[10, 11, 12, 13, 14, 10, 11, 12, 13]]), PrefillCounter()
    settings = {"max_new_tokens": 24, "pad_token_id": 0, "eos_token_id": None, "do_sample": False, **helper, **options}
    with prompts, ForwardCounter(llama.model) as calls:
        written = llama.model.generate(
            ids, attention_mask=torch.ones_like(ids), logits_processor=[processor], **settings
        )
    return written[0, ids.shape[1] :].tolist(), calls.calls, prompts.count


class PrefillCounter:
    """Counts the prompts that rewards encode inside a `with` block."""

    def __enter__(self):
        self.count, self.prefill = 0, Guide.prefill

        def counted(guide, batch):
            self.count += 1
            self.prefill(guide, batch)

        Guide.prefill = counted
        return self

    def __exit__(self, *_):
        Guide.prefill = self.prefill


@pytest.mark.filterwarnings("ignore")  # transformers' own
@pytest.mark.parametrize("head", ["q", "v"])
@pytest.mark.parametrize("kind", ASSISTED[1:])
def test_assisted_generation_writes_the_text_of_generate(llama, head, kind):
    """It reads the prompt once, and drafts save calls of the model."""
    text, calls, _ = assisted(llama, head, "plain")
    found, fewer, prompts = assisted(llama, head, kind)
    assert found == text
    assert prompts == 1
    assert fewer < calls == len(text)


def test_prompt_lookup_keeps_drafts_that_steering_could_forbid(llama, monkeypatch):
    """Its probes have no candidates: if they were steered, no draft would be left, in silence."""
    steered = assisted(llama, "q", "prompt lookup")[1]
    monkeypatch.setattr("trimtab.engines.processor.is_probe", lambda scores: False)
    assert assisted(llama, "q", "prompt lookup")[1] > steered


def test_a_state_that_is_taken_back_is_that_of_a_new_processor(frozen, reward):
    used, text = trimtab.SteeringProcessor(reward.toward(6.0), top_k=5), list(range(10, 20))
    torch.manual_seed(0)
    for tokens in (text[:4], text[:7], [*text[:5], 40, 41], [*text[:5], 40], text[:4], [50, *text[1:5]]):
        ids, scores = torch.tensor([tokens]), torch.randn(1, frozen.vocabulary_size)
        fresh = trimtab.SteeringProcessor(reward.toward(6.0), top_k=5)
        torch.testing.assert_close(used(ids, scores), fresh(ids, scores), atol=1e-4, rtol=1e-4)


def test_a_processor_behind_it_may_change_the_scores(llama):
    steering = trimtab.SteeringProcessor(tiny_reward(llama, "q").toward(2.0), top_k=6)

    def ban(input_ids, scores):
        scores[:, 5] = -torch.inf
        return scores

    written = llama.model.generate(**padded(llama), logits_processor=[steering, ban], max_new_tokens=8)
    assert 5 not in written[:, -8:].flatten().tolist()


def test_a_text_longer_than_a_reward_reads_is_refused(llama, head):
    """BOS stands before what the reward reads, so it reads one token less than the model."""
    reward = tiny_reward(llama, head)
    processor = trimtab.SteeringProcessor(reward.toward(2.0), top_k=6)
    whole = torch.full((1, reward.context_length - 2), 5)
    assert processor(whole, llama.model(whole).logits[:, -1]).isfinite().any()
    longer = torch.full((1, reward.context_length - 1), 5)
    with pytest.raises(InvalidPrompt, match="expected fewer than"):
        processor(longer, llama.model(longer).logits[:, -1])


def test_a_gate_that_never_opens_is_refused(llama):
    processor = trimtab.SteeringProcessor(tiny_reward(llama, "q").toward(2.0, min_entropy=50), top_k=6)
    with pytest.raises(InvalidSetting, match="min_entropy"):
        processor(torch.tensor([[5, 6]]), llama.model(torch.tensor([[5, 6]])).logits[:, -1])


def test_padding_does_not_count_as_text(llama):
    reward = tiny_reward(llama, "q")
    ids = torch.full((1, reward.context_length), llama.pad_token_id)
    ids[0, -3:] = torch.tensor([5, 6, 7])
    mask = (ids != llama.pad_token_id).long()
    settings = {"attention_mask": mask, "max_new_tokens": 2, "do_sample": False, "pad_token_id": llama.pad_token_id}
    loop = trimtab.custom_generate(reward.toward(2.0), top_k=6)
    processor = trimtab.SteeringProcessor(reward.toward(2.0), top_k=6)
    written = llama.model.generate(ids, logits_processor=[processor], **settings)
    assert torch.equal(llama.model.generate(ids, custom_generate=loop, **settings), written)
