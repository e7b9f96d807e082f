"""repetition_penalty and no_repeat_ngram_size in the decode loop, against transformers' `generate`."""

import pytest
import torch

from tiny import tiny_reward
from trimtab.engines.sampling_params import SamplingParams
from trimtab.language_model import LanguageModel
from trimtab.testing import ScriptedEngine, WordCodec

PROMPTS = ["w1 w2 w3 w1 w2", "w4", "w5 w6 w7 w5"]
SETTINGS = [
    {"repetition_penalty": 1.7},
    {"repetition_penalty": 0.6},
    {"no_repeat_ngram_size": 2},
    {"repetition_penalty": 1.3, "no_repeat_ngram_size": 1},
    {},
]


def transformers_text(frozen, prompt, tokens, options):
    ids = torch.tensor([frozen.codec.encode_prompt(prompt)])
    options = {"attention_mask": torch.ones_like(ids), "do_sample": False, "pad_token_id": 0, **options}
    return frozen.model.generate(ids, max_new_tokens=tokens, **options)[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("options", SETTINGS)
def test_greedy_text_is_that_of_transformers(frozen, family_lm, options):
    ours = family_lm.generate(PROMPTS, temperature=0, top_k=None, max_new_tokens=40, **options)
    for prompt, generation in zip(PROMPTS, ours, strict=True):
        assert generation.token_ids == transformers_text(frozen, prompt, 40, options)


def test_each_row_of_a_batch_has_its_own_settings(frozen, family_lm):
    params = [SamplingParams(temperature=0, top_k=5, max_new_tokens=14, **options) for options in SETTINGS]
    ours = family_lm.generate([PROMPTS[0]] * len(params), params=params)
    for options, generation in zip(SETTINGS, ours, strict=True):
        assert generation.token_ids == transformers_text(frozen, PROMPTS[0], 14, options)


def test_each_setting_changes_a_text(lm):
    plain, *others = (
        [each.token_ids for each in lm.generate(PROMPTS, temperature=0, max_new_tokens=40, **options)]
        for options in [{}, *SETTINGS[:3]]
    )
    assert plain not in others


def test_a_steered_row_ignores_its_batch(lm):
    """Sampled, with rows that leave early; the samples of a prompt fork its history."""
    steer = tiny_reward(lm.base, "q").toward(4.0)
    options = {"top_k": 6, "seed": 3, "n": 2}
    params = [
        SamplingParams(**options, max_new_tokens=length, **of_row)
        for length, of_row in zip((4, 12, 9), (SETTINGS[0], SETTINGS[2], {}), strict=True)
    ]
    together = lm.generate(PROMPTS, [steer, None, steer], params)
    for prompt, by, of_row, batched in zip(PROMPTS, [steer, None, steer], params, together, strict=True):
        alone = lm.generate(prompt, by, of_row)
        assert [each.token_ids for each in alone.samples] == [each.token_ids for each in batched.samples]


def test_base_probabilities_are_those_after_the_constraints(lm):
    generation = lm.generate("w1 w2 w1", no_repeat_ngram_size=2, top_k=None, max_new_tokens=1, seed=0)
    ids = lm.engine.codec.encode_prompt("w1 w2 w1")
    with torch.inference_mode():
        z = lm.model(torch.tensor([ids]), use_cache=False).logits[0, -1].double()
    z = z.index_fill(0, torch.tensor([ids[1]]), -torch.inf)
    choice = generation.trace[0].choice
    assert choice.base_logprob == pytest.approx(float(z.log_softmax(0)[choice.token_id]), abs=1e-4)
    assert ids[1] not in choice.candidates[choice.base_logprobs > -torch.inf].tolist()


def test_the_scripted_engine_keeps_them_too():
    codec = WordCodec(["a", "b"])
    lm = LanguageModel(ScriptedEngine(codec, lambda words: {"a": 0.6, "b": 0.3, "<eos>": 0.1}))
    options = {"temperature": 0, "top_k": 3, "max_new_tokens": 5}
    assert lm.generate("a", **options).text == " a a a a a"
    assert lm.generate("a", no_repeat_ngram_size=2, **options).text == " a b a"
    assert lm.generate("a", no_repeat_ngram_size=1, **options).text == " b"
