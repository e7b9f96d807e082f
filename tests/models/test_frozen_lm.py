import pytest
import torch
from transformers import AutoModelForCausalLM, MambaConfig, T5Config, T5ForConditionalGeneration

from tiny import tiny_lm
from trimtab import errors
from trimtab.models.frozen_lm import FrozenLM, PromptBatch


@pytest.mark.parametrize("kind", ["recurrent", "encoder-decoder"])
def test_a_model_that_cannot_be_rewound_is_refused(llama, kind):
    if kind == "recurrent":
        config = MambaConfig(hidden_size=32, num_hidden_layers=2, vocab_size=64, state_size=4)
        model = AutoModelForCausalLM.from_config(config)
    else:
        config = T5Config(d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2, vocab_size=64)
        model = T5ForConditionalGeneration(config)
    with pytest.raises(errors.UnsupportedModel, match="expected"):
        FrozenLM(model, llama.tokenizer, "unsteerable")


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


def test_a_tiny_model_describes_itself(frozen):
    assert (frozen.layers, frozen.context_length, frozen.vocabulary_size) == (3, 64, 64)
    assert frozen.output_embedding.shape == (64, 32)
    assert (frozen.pad_token_id, frozen.bos_token_id, frozen.prepends_bos) == (0, 1, False)
