"""Models that are loaded already: dispatched by accelerate, compiled by torch, quantized."""

import accelerate
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from families import tiny_config, tiny_model
from packed_linear import pack
from tiny import tiny_lm, tiny_reward, tiny_tokenizer
from trimtab import errors, from_transformers, testing
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.quantized import is_quantized

PROMPT = [10, 20, 30, 40, 11, 21, 31]
PROMPTS = [PROMPT, [50, 51], [12, 13, 14, 15]]
TEXTS = ["w1 w2 w3 w4 w5 w6 w7", "w8", "w9 w10 w11"]
CANDIDATES = [5, 17, 29]
GREEDY = {"temperature": 0, "top_k": None, "max_new_tokens": 5}
SAMPLED = {"top_k": 4, "max_new_tokens": 5, "seed": 3}
WEIGHT_ONLY = ["flat", "buffers"]
quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def own_reward(lm):
    return tiny_reward(lm, "q", "frozen", layers=3, bos_token_id=None)


def packed_lm(kind, **options):
    return from_transformers(pack(tiny_model(tiny_config("qwen2")), kind), tiny_tokenizer(), "packed", **options)


@pytest.fixture(scope="module", params=WEIGHT_ONLY)
def packed(request):
    return packed_lm(request.param)


@pytest.fixture(scope="module")
def dispatched():
    """A model with accelerate's hooks on every module, as a device_map over several devices makes it."""
    model = tiny_model(tiny_config("gemma3_text"))
    return from_transformers(
        accelerate.dispatch_model(model, {"": "cpu"}, force_hooks=True), tiny_tokenizer(), "hooked"
    )


def test_a_dispatched_model_keeps_the_laws(dispatched, tmp_path):
    testing.assert_greedy_equals_transformers(dispatched, TEXTS, 6)
    testing.assert_hosted_equals_separate(own_reward(dispatched.base), PROMPTS, [5, 44], CANDIDATES)
    value = tiny_reward(dispatched.base, "v", "lora")
    testing.assert_joined_states_equal_separate(value, PROMPTS[:2], PROMPTS[2:], CANDIDATES)
    testing.assert_save_load_identical(value, dispatched.base, PROMPT, tmp_path / "value")


def test_a_dispatched_model_is_the_model_that_it_was(dispatched):
    plain = FrozenLM(tiny_model(tiny_config("gemma3_text")), tiny_tokenizer(), "plain")
    assert dispatched.base.weights_fingerprint == plain.weights_fingerprint
    assert dispatched.base.base_fingerprint == plain.base_fingerprint


def test_a_model_loaded_with_a_device_map_writes_what_it_writes(llama, lm, tmp_path):
    llama.model.save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, device_map="cpu", dtype=torch.float32)
    loaded = from_transformers(model, llama.tokenizer)
    assert [each.token_ids for each in loaded.generate(TEXTS, **GREEDY)] == [
        each.token_ids for each in lm.generate(TEXTS, **GREEDY)
    ]


def test_offloaded_weights_are_refused():
    model = accelerate.cpu_offload(tiny_model(tiny_config("qwen2")))
    with pytest.raises(errors.UnsupportedModel, match="not in memory"):
        from_transformers(model, tiny_tokenizer())


@quiet
def test_a_model_in_a_compiled_wrapper_runs_uncompiled(lm):
    calls = []

    def backend(graph, inputs):
        calls.append(len(inputs))
        return graph.forward

    wrapper = from_transformers(torch.compile(tiny_lm("llama").model, backend=backend), tiny_tokenizer())
    assert wrapper.generate("w1 w2", **GREEDY).token_ids == lm.generate("w1 w2", **GREEDY).token_ids
    assert wrapper.base.base_fingerprint == lm.base.base_fingerprint
    assert not calls


def test_a_model_that_is_compiled_in_place_runs_compiled(lm, monkeypatch):
    """`model.compile()` replaces what a call of the model runs; a stand-in for the compiler counts the calls."""
    calls = []

    def compiler(function):
        def compiled(*given, **named):
            calls.append(len(given))
            return function(*given, **named)

        return compiled

    monkeypatch.setattr(torch, "compile", compiler)
    model = tiny_lm("llama").model
    model.compile()
    compiled = from_transformers(model, tiny_tokenizer())
    calls.clear()
    assert compiled.generate("w1 w2", **GREEDY).token_ids == lm.generate("w1 w2", **GREEDY).token_ids
    assert len(calls) == GREEDY["max_new_tokens"]


def test_other_wrappers_are_refused_with_what_to_do():
    adapted = get_peft_model(tiny_lm("llama").model, LoraConfig(r=2, target_modules=["q_proj"]))
    for wrong in (adapted, torch.nn.Linear(2, 2)):
        with pytest.raises(errors.WrongType, match=r"expected a transformers model.*merge_and_unload"):
            from_transformers(wrong, tiny_tokenizer())
    merged = from_transformers(adapted.merge_and_unload(), tiny_tokenizer())
    testing.assert_greedy_equals_transformers(merged, TEXTS[:1], 3)


def test_a_model_of_packed_weights_keeps_the_laws(packed):
    assert is_quantized(packed.model)
    testing.assert_greedy_equals_transformers(packed, TEXTS, 6)
    testing.assert_prefix_cache_changes_nothing(packed.base, PROMPTS)
    ladder = tiny_reward(packed.base, "q", "ladder", layers=2, bos_token_id=None)
    value = tiny_reward(packed.base, "v", "frozen")
    for reward in (own_reward(packed.base), ladder):
        testing.assert_hosted_equals_separate(reward, PROMPTS, [5, 44], CANDIDATES)
    testing.assert_joined_states_equal_separate(value, PROMPTS[:2], PROMPTS[2:], CANDIDATES)
    testing.assert_seeded_ignores_batch(packed, [ladder.toward(3.0), None, value.away(2.0)], TEXTS, **SAMPLED)


def test_a_reward_on_packed_weights_is_saved_and_loaded(packed, tmp_path):
    testing.assert_save_load_identical(own_reward(packed.base), packed.base, PROMPT, tmp_path / "reward")


@pytest.mark.parametrize("kind", WEIGHT_ONLY)
def test_the_fingerprints_know_packed_weights(kind):
    one, same, other = (packed_lm(kind).base for _ in range(3))
    part = other.model.model.layers[1].mlp.up_proj
    (part.weight if kind == "flat" else part.qweight).data.neg_()
    other = FrozenLM(other.model, other.tokenizer, other.name)
    for name in ("weights_fingerprint", "base_weights_fingerprint"):
        assert getattr(one, name) == getattr(same, name) != getattr(other, name), name


def test_adapters_learn_on_packed_linear_maps_and_on_no_other_modules(tmp_path):
    flat, buffers = (packed_lm(kind).base for kind in WEIGHT_ONLY)
    reward = tiny_reward(flat, "q", "lora")
    testing.assert_joined_states_equal_separate(reward, PROMPTS[:2], PROMPTS[2:], CANDIDATES)
    for name, weight in reward.network.named_parameters():
        weight.requires_grad_("lora_" in name)
    scored = reward.network(torch.tensor([PROMPT]), torch.ones(1, len(PROMPT), dtype=torch.bool))
    scored.values.square().sum().backward()
    assert any(weight.grad is not None for name, weight in reward.network.named_parameters() if "lora_" in name)
    with pytest.raises(errors.InvalidSetting, match=r"no linear map that an adapter can change.*ladder or frozen"):
        tiny_reward(buffers, "q", "lora")


@pytest.mark.parametrize("kind", WEIGHT_ONLY)
def test_packed_weights_cannot_be_trained_whole(kind):
    with pytest.raises(errors.InvalidSetting, match="is quantized; use another: ladder or frozen"):
        tiny_reward(packed_lm(kind).base, "q", "full")


@quiet
def test_weights_that_round_activations_by_the_batch_need_rows_of_their_own():
    """torch's dynamic quantization has one scale for all activations of a call."""
    lm = packed_lm("dynamic", batch_invariant=True)
    assert is_quantized(lm.model)
    testing.assert_greedy_equals_transformers(lm, TEXTS, 6)
    reward = own_reward(lm.base)
    testing.assert_seeded_ignores_batch(lm, [reward.toward(9.0), None, reward.away(9.0)], TEXTS, **SAMPLED)
    texts = lm.generate(TEXTS, reward.toward(9.0), **SAMPLED)
    assert [each.token_ids for each in texts] != [each.token_ids for each in lm.generate(TEXTS, **SAMPLED)]
    other = tiny_model(tiny_config("qwen2"), seed=1)
    changed = from_transformers(pack(other, "dynamic"), tiny_tokenizer(), "packed")
    assert changed.base.weights_fingerprint != lm.base.weights_fingerprint
