"""The decode loop inside transformers' `generate`, against `generate` itself and against a SteeringProcessor in it."""

import pytest
import torch
from transformers import StoppingCriteria

import trimtab
from forward_counter import ForwardCounter
from tiny import tiny_lm, tiny_reward
from trimtab.engines.torch.engine import TorchEngine
from trimtab.errors import InvalidPrompt, InvalidSetting, RewardMismatch
from trimtab.models.kv_cache import KVCache

PROMPTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9"]
SAMPLED = {"do_sample": True, "temperature": 0.7, "top_k": 4, "top_p": 0.9}


def inputs_of(lm, prompts=PROMPTS):
    batch = lm.batch([lm.codec.encode_prompt(prompt) for prompt in prompts])
    return {"input_ids": batch.ids, "attention_mask": batch.mask.long(), "pad_token_id": lm.pad_token_id}


def generate(lm, **options):
    torch.manual_seed(0)
    return lm.model.generate(**inputs_of(lm), **{"max_new_tokens": 12, "do_sample": False, **options})


def both(lm, steer, settings=None, **options):
    """Return what the loop and what a processor write."""
    settings = {"top_k": 6, **(settings or {})}
    ours = generate(lm, custom_generate=trimtab.custom_generate(steer, **settings), **options)
    return ours, generate(lm, logits_processor=[trimtab.SteeringProcessor(steer, **settings)], **options)


def test_without_a_steer_greedy_search_is_that_of_transformers(frozen):
    assert torch.equal(generate(frozen, custom_generate=trimtab.custom_generate()), generate(frozen))


def test_a_strength_of_0_leaves_greedy_search_alone(frozen, reward):
    loop = trimtab.custom_generate(reward.toward(0.0))
    assert torch.equal(generate(frozen, custom_generate=loop), generate(frozen))


@pytest.mark.parametrize("options", [{}, SAMPLED, {"do_sample": True, "top_k": None}])
def test_without_a_steer_sampling_is_that_of_transformers(llama, options):
    options = {**options, "num_return_sequences": 2} if options else {}
    assert torch.equal(
        generate(llama, custom_generate=trimtab.custom_generate(), **options), generate(llama, **options)
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        SAMPLED,
        {**SAMPLED, "num_return_sequences": 3},
        {"repetition_penalty": 1.4, "no_repeat_ngram_size": 2},
        {"eos_token_id": list(range(4, 40, 2))},
        {"do_sample": True, "min_p": 0.1, "renormalize_logits": True, "suppress_tokens": [5, 6, 7]},
    ],
)
def test_the_text_is_that_of_a_steering_processor(frozen, reward, options):
    ours, theirs = both(frozen, reward.toward(6.0) + reward.away(2.0, "calm"), {"max_kl": 0.8}, **options)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("options", [{}, SAMPLED])
def test_candidates_are_cut_by_top_p_as_by_a_steering_processor(frozen, reward, options):
    ours, theirs = both(frozen, reward.toward(6.0), {"top_k": 12, "top_p": 0.6}, **options)
    assert torch.equal(ours, theirs)


def test_a_reward_on_the_models_own_state_runs_no_second_trunk(llama):
    own = tiny_reward(llama, "q", "frozen", layers=3, bos_token_id=None)
    ours, theirs = both(llama, own.toward(5.0), **SAMPLED)
    assert torch.equal(ours, theirs)
    with ForwardCounter(llama.model.base_model) as counter:
        written = generate(llama, custom_generate=trimtab.custom_generate(own.toward(5.0)), eos_token_id=None)
    assert counter.calls == written.shape[1] - inputs_of(llama)["input_ids"].shape[1]


def test_scores_and_logits_are_those_of_transformers(llama, reward):
    options = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True, **SAMPLED}
    ours, theirs = both(llama, tiny_reward(llama, "q").toward(3.0), **options)
    assert torch.equal(ours.sequences, theirs.sequences)
    assert len(ours.scores) == len(ours.logits) == len(theirs.scores)
    for name in ("scores", "logits"):
        for found, expected in zip(ours[name], theirs[name], strict=True):
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_what_is_returned_may_be_changed(llama):
    """Tensors of inference mode may not."""
    options = {"return_dict_in_generate": True, "output_scores": True}
    written = generate(llama, custom_generate=trimtab.custom_generate(), **options)
    written.sequences += 1
    written.scores[0].mul_(2)
    assert not written.sequences.is_inference()


class ThreeTokens(StoppingCriteria):
    """Ends the first row after three tokens."""

    def __init__(self, prompt):
        self.prompt = prompt

    def __call__(self, input_ids, scores, **_):
        ended = torch.zeros(len(input_ids), dtype=torch.bool)
        ended[0] = input_ids.shape[1] - self.prompt >= 3
        return ended


def test_stopping_criteria_end_rows(llama):
    slots = inputs_of(llama)["input_ids"].shape[1]
    ours, theirs = both(llama, tiny_reward(llama, "q").toward(3.0), stopping_criteria=[ThreeTokens(slots)])
    assert torch.equal(ours, theirs)
    assert ours[0, slots + 3 :].eq(llama.pad_token_id).all()


def test_a_row_that_has_ended_costs_rad_no_call(llama, monkeypatch):
    """Its padding is no candidate that RAD has read; what it would have chosen is."""
    feed, fed, counts = KVCache.feed, list[KVCache](), list[int]()
    monkeypatch.setattr(KVCache, "feed", lambda self, *given, **more: (fed.append(self), feed(self, *given, **more))[1])
    loop = trimtab.custom_generate(tiny_reward(llama, "v").toward(3.0), top_k=6)
    first = int(generate(llama, custom_generate=loop, max_new_tokens=6, eos_token_id=63)[0, -6])
    for end in (63, first):
        fed.clear()
        written = generate(llama, custom_generate=loop, max_new_tokens=6, eos_token_id=end)[:, -6:]
        counts.append(len(fed))
    assert (written[0, 1:] == llama.pad_token_id).all()
    assert (written[1:, :-1] != first).all()
    assert counts[0] == counts[1] == 6 + 1  # a prompt and five tokens through the model, and the prompt through RAD


def test_a_streamer_receives_the_prompt_and_every_token(llama):
    received = []

    class Listener:
        def put(self, value):
            received.append(value.tolist())

        def end(self):
            received.append("end")

    loop = trimtab.custom_generate(tiny_reward(llama, "q").toward(3.0), streamer=Listener())
    written = generate(llama, custom_generate=loop, max_new_tokens=3, eos_token_id=None)
    ids = inputs_of(llama)["input_ids"]
    assert received == [ids.tolist(), *written[:, ids.shape[1] :].T.tolist(), "end"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"num_beams": 3}, "num_beams=3"),
        ({"prompt_lookup_num_tokens": 2}, "prompt_lookup_num_tokens=2"),
        ({"cache_implementation": "static"}, "cache_implementation='static'"),
        ({"output_hidden_states": True, "return_dict_in_generate": True}, "output_hidden_states=True"),
        ({"position_ids": torch.arange(5)[None] + 3}, "position_ids"),
    ],
)
def test_what_the_loop_does_not_have_is_refused_by_name(llama, options, named):
    with pytest.raises(InvalidSetting, match=named):
        generate(llama, custom_generate=trimtab.custom_generate(tiny_reward(llama, "q").toward(1.0)), **options)


def test_two_steers_embeddings_and_right_padding_are_refused(llama):
    steer = tiny_reward(llama, "q").toward(1.0)
    loop = trimtab.custom_generate(steer)
    with pytest.raises(InvalidSetting, match="both would steer"):
        generate(llama, custom_generate=loop, logits_processor=[trimtab.SteeringProcessor(steer)])
    options = {"max_new_tokens": 3, "custom_generate": loop, "pad_token_id": 0}
    with pytest.raises(InvalidSetting, match="inputs_embeds"):
        llama.model.generate(inputs_embeds=torch.randn(1, 3, 32), **options)
    mask = torch.tensor([[1, 1, 0]])
    with pytest.raises(InvalidSetting, match="padded on the left"):
        llama.model.generate(torch.tensor([[5, 6, 0]]), attention_mask=mask, **options)


def test_a_reward_of_another_tokenizer_is_refused(llama):
    reward = tiny_reward(llama, "q", tokenizer_fingerprint="other")
    with pytest.raises(RewardMismatch):
        trimtab.custom_generate(reward.toward(1.0), llama.tokenizer)
    assert trimtab.custom_generate(tiny_reward(llama, "q").toward(1.0), llama.tokenizer)


def test_a_loop_can_be_used_again_and_by_another_model(llama):
    reward = tiny_reward(llama, "q", "frozen", layers=3, bos_token_id=None)
    loop = trimtab.custom_generate(reward.toward(5.0), top_k=6)
    first = generate(llama, custom_generate=loop)
    other = tiny_lm("qwen2")
    found = generate(other, custom_generate=loop)
    expected = generate(other, logits_processor=[trimtab.SteeringProcessor(reward.toward(5.0), top_k=6)])
    assert torch.equal(found, expected)
    assert torch.equal(generate(llama, custom_generate=loop), first)


def test_rewards_that_do_not_tell_their_number_of_tokens_need_the_tokenizer(llama):
    lm = trimtab.LanguageModel(TorchEngine(llama))
    steer = trimtab.experts(lm, trimtab.LanguageModel(TorchEngine(tiny_lm("gpt2"))), lm).toward(1.0)
    with pytest.raises(InvalidSetting, match="expected tokenizer="):
        trimtab.custom_generate(steer)
    assert generate(llama, custom_generate=trimtab.custom_generate(steer, tokenizer=llama.tokenizer)).shape[0] == 3


def test_what_a_reward_cannot_read_and_a_gate_that_never_opens_are_refused(llama):
    reward = tiny_reward(llama, "q")
    long = ["w1 " * (reward.context_length - 5)]
    loop = trimtab.custom_generate(reward.toward(2.0))
    with pytest.raises(InvalidPrompt, match="expected fewer than"):
        llama.model.generate(**inputs_of(llama, long), custom_generate=loop, max_new_tokens=8, do_sample=False)
    with pytest.raises(InvalidSetting, match="min_entropy"):
        generate(llama, custom_generate=trimtab.custom_generate(reward.toward(2.0, min_entropy=50)))
