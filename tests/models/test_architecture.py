"""Architectures that cannot be steered are refused by their config and class, before any weights are read."""

import pytest
from transformers import BartConfig, BertConfig, BertLMHeadModel, LlamaConfig, LlamaForCausalLM, MambaConfig, T5Config

from trimtab import errors
from trimtab.models.architecture import check_architecture, check_folder_architecture
from trimtab.models.loading import load_frozen_lm

SIZES = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
REFUSED = {
    "an encoder": (BertConfig(**SIZES, intermediate_size=16), "BertLMHeadModel, an encoder; expected a decoder"),
    "an encoder-decoder": (BartConfig(vocab_size=64, d_model=16), "an encoder-decoder; expected a decoder-only"),
    "a recurrent state": (
        MambaConfig(hidden_size=16, num_hidden_layers=2, vocab_size=64),
        r"MambaForCausalLM with (linear_attention|a recurrent state)",
    ),
    "attention in chunks": (
        LlamaConfig(**SIZES, layer_types=["chunked_attention", "full_attention"]),
        "with chunked_attention; expected only full_attention, sliding_attention",
    ),
}


@pytest.fixture
def folder(llama, tmp_path):
    """A folder with a tokenizer, and weights that nobody can read."""
    llama.tokenizer.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"unread")
    return tmp_path


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_steered_is_refused_before_weights_are_read(folder, kind):
    config, message = REFUSED[kind]
    config.save_pretrained(folder)
    (folder / "config.json").write_text(
        (folder / "config.json").read_text(encoding="utf-8").replace("{", '{"max_position_embeddings": 64,', 1),
        encoding="utf-8",
    )
    with pytest.raises(errors.UnsupportedModel, match=message):
        load_frozen_lm(str(folder))


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(**SIZES),
        BertConfig(**SIZES, is_decoder=True),
        BartConfig(d_model=16, is_decoder=True, is_encoder_decoder=False),
        T5Config(d_model=16),
    ],
    ids=["a decoder", "BERT as a decoder", "BART's decoder", "no causal class: the loader names it"],
)
def test_what_may_be_steered_is_left_to_the_loader(folder, config):
    config.save_pretrained(folder)
    check_folder_architecture(folder)


def test_a_class_is_told_by_its_name():
    with pytest.raises(errors.UnsupportedModel, match="got BertLMHeadModel, an encoder-decoder"):
        check_architecture(BertLMHeadModel, BartConfig())
    check_architecture(LlamaForCausalLM, LlamaConfig())
