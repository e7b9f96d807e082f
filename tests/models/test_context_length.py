"""The longest sequence of a model: by its positions, by rotary positions that change, or by its tokenizer."""

import pytest
import torch
from transformers import AutoConfig

from families import tiny_config, tiny_model
from tiny import tiny_tokenizer
from trimtab import errors, from_transformers, testing
from trimtab.models.context_length import context_length
from trimtab.models.loading import load_codec, load_frozen_lm

FACTORS = {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
LONGROPE = {"rope_type": "longrope", "original_max_position_embeddings": 8, "rope_theta": 10_000.0, **FACTORS}
GREEDY = {"temperature": 0, "max_new_tokens": 20}


def longrope(**changes):
    return tiny_config("phi3", rope_parameters=LONGROPE, original_max_position_embeddings=8, **changes)


def test_the_positions_are_the_limit():
    assert context_length(tiny_config("llama"), tiny_tokenizer()) == 64


def test_the_tokenizer_is_the_limit_where_positions_have_none():
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = 512
    assert context_length(AutoConfig.for_model("bloom"), tokenizer) == 512


@pytest.mark.parametrize("rope", ["yarn", "linear", "llama3", "default"])
def test_rotary_positions_that_never_change_are_no_limit(rope):
    config = tiny_config("llama")
    config.rope_parameters = {"rope_type": rope, "original_max_position_embeddings": 8}
    assert context_length(config, tiny_tokenizer()) == 64


@pytest.mark.parametrize("of_layers", [False, True])
@pytest.mark.parametrize("rope", ["longrope", "dynamic"])
def test_rotary_positions_that_change_are_a_limit(rope, of_layers):
    config, changing = tiny_config("llama"), {"rope_type": rope, "original_max_position_embeddings": 8}
    config.rope_parameters = {"full_attention": changing, "sliding_attention": {}} if of_layers else changing
    assert context_length(config, tiny_tokenizer()) == 8


def test_a_text_ends_where_its_positions_would_change():
    """Beyond, a text alone and in a batch would have other positions. Up to there, both are transformers' text."""
    lm = from_transformers(tiny_model(longrope()), tiny_tokenizer())
    assert lm.base.context_length == 8
    written = lm.generate("w1 w2 w3", **GREEDY)
    assert len(written.token_ids) == 5
    testing.assert_greedy_equals_transformers(lm, ["w1 w2 w3", "w4"], 5)
    with pytest.raises(errors.InvalidPrompt, match="context of 8"):
        lm.generate(" ".join(["w1"] * 8), **GREEDY)


@pytest.mark.parametrize("kind", ["longrope", "gpt_oss", "gemma3"])
def test_a_saved_model_loads_with_the_same_limits(kind, tmp_path):
    """A model whose positions change, one without torch's attention, and one with an encoder of images."""
    text = tiny_config("gemma3_text").to_dict()
    vision = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    parts = {"text_config": text, "vision_config": {**vision, "image_size": 28, "patch_size": 14}}
    config = {"longrope": longrope, "gpt_oss": lambda: tiny_config("gpt_oss")}.get(
        kind, lambda: tiny_config("gemma3", **parts)
    )()
    model = tiny_model(config)
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    loaded, codec = load_frozen_lm(str(tmp_path)), load_codec(str(tmp_path))
    assert codec.context_length == loaded.context_length == (8 if kind == "longrope" else 64)
    assert codec.eos_token_ids == loaded.codec.eos_token_ids
    assert loaded.layers == 3
    ids = torch.tensor([[10, 20, 30, 40, 11]])
    torch.testing.assert_close(loaded.model(ids).logits, model.eval()(ids).logits, atol=1e-5, rtol=1e-5)
