"""Which models are refused: by their config before weights are read, by their parts, and by what they compute."""

import copy

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    BertConfig,
    BertLMHeadModel,
    LlamaForCausalLM,
)

from families import tiny_config, tiny_model
from tiny import SMALL, VOCABULARY, tiny_lm, tiny_tokenizer
from trimtab import errors
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.loading import load_frozen_lm
from trimtab.models.steerable import check_config, check_decoding

ENCODERS = {"bert": "an encoder", "roberta": "an encoder", "t5": "encoder-decoder", "bart": "encoder-decoder"}
RECURRENT = {
    "mamba": "linear_attention",
    "rwkv": "a recurrent state",
    "jamba": "linear_attention",
    "qwen3_next": "linear_attention",
    "recurrent_gemma": "linear_attention",
    "gpt_neo": "local attention",
}
OTHERS = {"vit": "no causal language model"}
STEERED = ["llama", "gpt_neox", "gemma3", "gemma3_text", "gpt_oss", "llama4", "mistral", "phi3"]


def refuse(model, reason):
    """The model is refused for this reason, in one line that says what to do."""
    with pytest.raises(errors.UnsupportedModel, match=reason) as caught:
        FrozenLM(model, tiny_tokenizer(), "unsteerable")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("kind", "reason"), {**ENCODERS, **RECURRENT, **OTHERS}.items())
def test_a_config_that_cannot_be_steered_is_refused_before_weights_are_read(kind, reason, tmp_path, monkeypatch):
    monkeypatch.setattr("trimtab.models.loading._load_weights", lambda *_: pytest.fail("the weights were read"))
    AutoConfig.for_model(kind).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(errors.UnsupportedModel, match=rf"{kind}.*{reason}.*expected") as caught:
        load_frozen_lm(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", STEERED)
def test_a_config_that_can_be_steered_passes(kind):
    check_config(AutoConfig.for_model(kind))


def test_an_encoder_decoder_is_refused():
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "vocab_size": VOCABULARY}
    refuse(AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model("t5", **sizes)), "encoder-decoder")


@pytest.mark.parametrize("kind", ["mamba", "qwen3_next"])
def test_a_state_that_cannot_be_rewound_is_refused(kind):
    sizes = {"linear_num_value_heads": 2, "linear_num_key_heads": 2, "num_experts": 4, "state_size": 4}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**SMALL, "vocab_size": 64, **sizes}))
    refuse(model, "cannot be cropped cannot be steered back")


def encoder(**options):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    return BertLMHeadModel(BertConfig(vocab_size=VOCABULARY, **sizes, **options))


def test_an_encoder_with_a_language_model_head_is_refused():
    refuse(encoder(), "an encoder, which cannot write")


def test_an_encoder_that_its_config_calls_a_decoder_is_refused():
    refuse(encoder(is_decoder=True), "list of its transformer layers")


def test_a_decoder_that_reads_both_ways_is_refused():
    config = tiny_config("gemma3_text", use_bidirectional_attention=True)
    refuse(tiny_model(config), "later tokens")


def test_a_decoder_that_counts_positions_by_itself_is_refused():
    """BART's decoder takes no positions: a padded text would have those of its padding."""
    sizes = {
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "decoder_attention_heads": 2,
        "decoder_ffn_dim": 32,
    }
    config = AutoConfig.for_model("bart", vocab_size=VOCABULARY, **sizes, is_encoder_decoder=False)
    with pytest.raises(errors.UnsupportedModel, match="ignore masks or positions"):
        check_decoding(tiny_model(config).eval())


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [("bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 2}), ("mpt", {"d_model": 32, "n_layers": 2, "n_heads": 2})],
)
def test_a_decoder_without_masks_for_each_token_is_refused(kind, sizes):
    refuse(tiny_model(AutoConfig.for_model(kind, vocab_size=VOCABULARY, **sizes)), "mask")


def test_a_model_with_several_states_for_each_token_is_refused():
    small = {"head_dim": 8, "vocab_size_per_layer_input": 64, "hidden_size_per_layer_input": 8, "laurel_rank": 4}
    config = tiny_config("gemma3n_text", **small, num_kv_shared_layers=1, activation_sparsity_pattern=None)
    refuse(tiny_model(config), "one for each token after each layer")


def test_a_model_without_a_head_is_refused(llama):
    refuse(llama.model.base_model, "no language-model head; load the model with AutoModelForCausalLM")


def test_saved_weights_without_a_head_are_refused(tmp_path):
    config = tiny_config("qwen2", tie_word_embeddings=False)
    tiny_model(config).base_model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(errors.UnsupportedModel, match=r"without a language-model head.*lack lm_head\.weight"):
        load_frozen_lm(str(tmp_path))


def test_a_classifier_is_refused():
    refuse(AutoModelForSequenceClassification.from_config(tiny_config("llama")), "no language-model head")


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_a_head_that_is_no_matrix_of_numbers_is_refused(dtype):
    model = tiny_lm("qwen2").model
    packed = model.lm_head.weight.data.to(dtype)
    model.lm_head.weight = torch.nn.Parameter(packed, requires_grad=False)
    refuse(model, "leave the head out when the model is quantized")


def test_attention_that_takes_no_masks_is_refused():
    model = tiny_model(tiny_config("llama"))
    model.config._attn_implementation_internal = "flash_attention_2"
    refuse(model, "attn_implementation='sdpa'")


def test_weights_that_are_not_in_memory_are_refused():
    with torch.device("meta"):
        model = LlamaForCausalLM(tiny_config("llama"))
    refuse(model, "expected a device_map without 'disk'")


def test_a_model_that_gives_nan_is_refused():
    broken = tiny_lm("llama").model
    broken.model.layers[1].mlp.up_proj.weight.data[0, 0] = torch.nan
    refuse(broken, "logits are NaN or infinite")


def test_a_model_that_fails_is_refused_with_its_words(monkeypatch):
    model = tiny_lm("llama").model
    monkeypatch.setattr(model.model, "forward", lambda *_, **__: (_ for _ in ()).throw(KeyError("no such mask")))
    refuse(model, "cannot run with a KV cache.*no such mask")


def test_a_lack_of_memory_is_no_fault_of_the_model(monkeypatch):
    model = tiny_lm("llama").model
    monkeypatch.setattr(model.model, "forward", lambda *_, **__: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(MemoryError):
        FrozenLM(model, tiny_tokenizer(), "large")


def test_a_model_that_excludes_tokens_by_infinite_logits_is_causal():
    model = tiny_lm("llama").model
    model.lm_head.register_forward_hook(
        lambda module, given, logits: logits.index_fill(-1, torch.tensor([9]), -torch.inf)
    )
    check_decoding(model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_decoders_pass_in_every_dtype(frozen, dtype):
    check_decoding(copy.deepcopy(frozen.model).to(dtype))
