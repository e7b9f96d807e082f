"""Tiny random language models of four families, and tiny random rewards on them."""

from copy import deepcopy
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from trimtab.models.frozen_lm import FrozenLM
from trimtab.rewards.card import RewardCard
from trimtab.rewards.network import build_network
from trimtab.rewards.reward_model import RewardModel

WORDS = [f"w{i}" for i in range(60)]
SPECIAL = ["<pad>", "<bos>", "<eos>", "<unk>"]
VOCABULARY = len(WORDS) + len(SPECIAL)

COMMON = {
    "vocab_size": VOCABULARY,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
FAMILIES = {
    "llama": LlamaConfig(**COMMON, **SMALL, tie_word_embeddings=True),
    "gpt2": GPT2Config(**COMMON, n_embd=32, n_layer=3, n_head=4, n_positions=64),
    "qwen2": Qwen2Config(**COMMON, **SMALL),
    "gemma3": Gemma3TextConfig(
        **COMMON,
        **SMALL,
        head_dim=8,
        sliding_window=4,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
}


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Words to ids, split at spaces; no BOS is added."""
    vocabulary = {word: i for i, word in enumerate(SPECIAL + WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    )


def tiny_lm(family: str, seed: int = 0) -> FrozenLM:
    """A random model with weights large enough that its next-token distributions differ from each other."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(deepcopy(FAMILIES[family]), dtype=torch.float32)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.25)
    return FrozenLM(model, tiny_tokenizer(), f"tiny-{family}")


def opening_lm(family: str) -> FrozenLM:
    """The same model with a tokenizer that puts BOS before every text."""
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return FrozenLM(tiny_lm(family).model, tokenizer, f"opening-{family}")


def save_lm(lm: FrozenLM, folder: Path) -> None:
    """Save a model and its tokenizer in one folder."""
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)


def tiny_reward(lm: FrozenLM, head: str, trunk: str = "lora", seed: int = 0, **changes) -> RewardModel:
    """A random reward whose adapters and head are far from zero."""
    torch.manual_seed(seed)
    settings = {
        "base": lm.name,
        "base_fingerprint": lm.base_fingerprint,
        "base_weights_fingerprint": lm.base_weights_fingerprint,
        "tokenizer_fingerprint": lm.codec.fingerprint,
        "layers": 2,
        "head": head,
        "attributes": ("kind", "calm"),
        "trunk": trunk,
        "rank": 4,
        "lora_rank": 2,
        "lora_alpha": 4,
        "bos_token_id": lm.bos_token_id,
    }
    if trunk == "ladder":
        layers = changes.setdefault("layers", 3)
        settings |= {"taps": tuple(range(1, layers + 1)), "ladder_width": 16, "ladder_heads": 2}
    card = RewardCard(**{**settings, **changes})
    network = build_network(lm, card)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.startswith(("head.", "ladder.")) or "lora_" in name:
                weight.normal_(0, 0.3)
    return RewardModel(network, card, lm, f"tiny-{head}")


def tiny_ladder(lm: FrozenLM, layers: int = 3) -> RewardModel:
    """A random reward on a ladder over the first layers, which reads the language model while it runs."""
    return tiny_reward(lm, "q", "ladder", layers=layers, bos_token_id=None)
