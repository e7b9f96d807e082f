import copy

import torch

from tiny import tiny_lm
from trimtab.models.frozen_lm import PromptBatch


def test_the_weights_are_frozen_and_dropout_is_off(llama):
    assert not llama.model.training
    assert not any(weight.requires_grad for weight in llama.model.parameters())


def test_the_fingerprint_depends_on_the_weights_and_not_on_the_dtype():
    one, same, other = tiny_lm("llama"), tiny_lm("llama"), tiny_lm("llama", seed=1)
    same.model.to(torch.bfloat16)
    assert one.base_fingerprint == same.base_fingerprint != other.base_fingerprint


def test_prompts_are_padded_on_the_left():
    batch = PromptBatch.pad([[5, 6, 7], [8]], 3, torch.device("cpu"))
    assert batch.ids.tolist() == [[5, 6, 7], [3, 3, 8]]
    assert batch.mask.tolist() == [[True, True, True], [False, False, True]]


def test_a_padding_token_that_the_model_does_not_have_pads_no_batch():
    lm = tiny_lm("llama")
    lm.tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    assert lm.tokenizer.pad_token_id >= lm.vocabulary_size
    batch = lm.batch([[5, 6, 7], [8]])
    found = lm.model(batch.ids, batch.mask.long()).logits[0, -1]
    torch.testing.assert_close(found, lm.model(torch.tensor([[5, 6, 7]])).logits[0, -1], atol=1e-5, rtol=1e-5)


def test_a_tiny_model_describes_itself(frozen):
    assert (frozen.layers, frozen.context_length, frozen.vocabulary_size) == (3, 64, 64)
    assert frozen.output_embedding.shape == (64, 32)
    assert (frozen.pad_token_id, frozen.bos_token_id, frozen.prepends_bos) == (0, 1, False)


def test_the_fingerprint_of_all_weights_changes_with_any_weight_and_with_the_dtype():
    one, same, other = (tiny_lm("llama") for _ in range(3))
    other.model.model.layers[1].self_attn.o_proj.weight.data[0, 0] += 1e-6
    assert one.weights_fingerprint == same.weights_fingerprint != other.weights_fingerprint
    assert one.base_fingerprint == other.base_fingerprint  # cards know a sample of the weights
    same = tiny_lm("llama")
    same.model.to(torch.bfloat16)
    assert same.weights_fingerprint != one.weights_fingerprint


def test_the_hash_of_the_settings_changes_with_them_and_not_with_the_dtype_or_the_name():
    one, same, other = (tiny_lm("llama") for _ in range(3))
    same.model.to(torch.bfloat16)
    for each in (same, other):
        each.model.config = copy.deepcopy(each.model.config)
    same.model.config._name_or_path = "elsewhere"
    other.model.config.rms_norm_eps = 5.0
    assert one.config_fingerprint == same.config_fingerprint != other.config_fingerprint
    assert one.weights_fingerprint == other.weights_fingerprint


def test_a_parameter_without_axes_is_hashed():
    scaled = tiny_lm("llama")
    scaled.model.model.register_parameter("scale", torch.nn.Parameter(torch.tensor(1.0), requires_grad=False))
    scaled.model.model.scale.data.fill_(2.0)
    assert len({scaled.weights_fingerprint, scaled.base_weights_fingerprint, scaled.base_fingerprint}) == 3
