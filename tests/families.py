"""Tiny random models of the families of decoders that the laws run on."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from tiny import COMMON, SMALL, tiny_tokenizer
from trimtab.models.frozen_lm import FrozenLM

WINDOW = 4  # tokens; the laws' prompts are longer
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
ALTERNATING = ["sliding_attention", "full_attention", "sliding_attention"]
SETTINGS = {
    "llama": {"tie_word_embeddings": True},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "gemma3_text": {"head_dim": 8, "sliding_window": WINDOW, "layer_types": ALTERNATING},
    "gpt2": {},
    "gpt_neox": {"rotary_pct": 0.5},
    "mistral": {"sliding_window": WINDOW},
    "phi3": {"sliding_window": WINDOW},
    "olmo2": {},
    "smollm3": {"no_rope_layers": [1, 0, 1]},
    "gpt_oss": {"head_dim": 8, "sliding_window": WINDOW, "layer_types": ALTERNATING, "num_local_experts": 4},
    "qwen3_moe": {"head_dim": 8, "num_experts": 4, **EXPERTS},
}
MORE = {
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "gemma2": {"head_dim": 8, "sliding_window": WINDOW, "final_logit_softcapping": 5.0, "attn_logit_softcapping": 5.0},
    "llama4_text": {
        "head_dim": 8,
        "attention_chunk_size": WINDOW,
        "layer_types": ["chunked_attention", "full_attention", "chunked_attention"],
        "no_rope_layers": [1, 0, 1],
        "num_local_experts": 4,
        "intermediate_size_mlp": 48,
    },
    "deepseek_v3": {
        "num_key_value_heads": 4,
        "q_lora_rank": 16,
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 4,
        "n_routed_experts": 4,
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 1,
        **EXPERTS,
    },
    "cohere2": {"head_dim": 8, "sliding_window": WINDOW, "layer_types": ALTERNATING},
    "falcon": {"ffn_hidden_size": 48},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
}


def tiny_config(family: str, **changes: object) -> PretrainedConfig:
    """The config of a tiny model."""
    return AutoConfig.for_model(family, **{**COMMON, **SMALL, **{**SETTINGS, **MORE}.get(family, {}), **changes})


def tiny_model(config: PretrainedConfig, seed: int = 0) -> PreTrainedModel:
    """A random model in which every weight matters: the matrices are large, and no norm or sink is at its default."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.25)
            else:
                weight.add_(torch.randn_like(weight) * 0.2)
    return model


def tiny_family(family: str) -> FrozenLM:
    """A tiny model with a tokenizer of words."""
    return FrozenLM(tiny_model(tiny_config(family)), tiny_tokenizer(), f"tiny-{family}")
