"""Language models of known shapes with random weights, so that large models are timed without a download."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedConfig, PreTrainedTokenizerFast

from trimtab.checking import shown
from trimtab.errors import InvalidSetting
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.loading import quiet_transformers
from trimtab.models.quicken import quicken


class Shapes(NamedTuple):
    """The shape of a language model, and that of the smaller model with its vocabulary that rewards run beside it."""

    lm: PreTrainedConfig
    reward: PreTrainedConfig


def gpt2_large() -> Shapes:
    """GPT-2 large, with rewards of GPT-2 small: the models of RAD (2310.09520) and ARM (2407.04615)."""
    return Shapes(GPT2Config(n_embd=1280, n_layer=36, n_head=20), GPT2Config())


def llama_7b() -> Shapes:
    """Llama 2 7B, with rewards of TinyLlama 1.1B, which has its tokenizer."""
    small = LlamaConfig(
        hidden_size=2048,
        intermediate_size=5632,
        num_hidden_layers=22,
        num_attention_heads=32,
        num_key_value_heads=4,
    )
    return Shapes(LlamaConfig(max_position_embeddings=4096), small)


def tiny() -> Shapes:
    """A model of 6 small layers, with rewards of 2: to try the command."""
    size = {"vocab_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 1024}
    large = LlamaConfig(hidden_size=64, intermediate_size=128, num_hidden_layers=6, **size)
    return Shapes(large, LlamaConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, **size))


SHAPES: dict[str, Callable[[], Shapes]] = {"gpt2-large": gpt2_large, "llama-7b": llama_7b, "tiny": tiny}


def find_shapes(name: str) -> Shapes:
    """The shapes of a name.

    Raises:
        InvalidSetting: there are none.
    """
    if name not in SHAPES:
        raise InvalidSetting(f"got shapes={shown(name)}, expected one of: {', '.join(SHAPES)}")
    return SHAPES[name]()


def random_lm(config: PreTrainedConfig, name: str, device: torch.device, dtype: torch.dtype | None) -> FrozenLM:
    """A model of a shape with random weights, made on the device.

    Args:
        config: the shape.
        name: the model's name.
        device: a torch device.
        dtype: default: float32 on a CPU, else bfloat16.
    """
    chosen = dtype or (torch.float32 if device.type == "cpu" else torch.bfloat16)
    with quiet_transformers(), device:
        model = AutoModelForCausalLM.from_config(config, dtype=chosen, attn_implementation="sdpa")
    return FrozenLM(quicken(model.to(device)), placeholder_tokenizer(), name)


def placeholder_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of two tokens. Prompts are token ids, so that no text is ever encoded."""
    tokenizer = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1}, unk_token="<unk>"))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>")
