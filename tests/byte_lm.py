"""Tiny random language models with byte tokenizers: each splits texts in its own way, and letters into bytes."""

import copy

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from tiny import FAMILIES, SPECIAL
from trimtab.models.frozen_lm import FrozenLM

SPARE_ROWS = 5  # of the embedding, as padded vocabularies have them


def byte_tokenizer(merges: list[tuple[str, str]]) -> PreTrainedTokenizerFast:
    """Bytes, and what the merges make of them; no BOS is added."""
    symbols = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *dict.fromkeys(a + b for a, b in merges)]
    tokenizer = Tokenizer(models.BPE({symbol: i for i, symbol in enumerate(symbols)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    )


def byte_lm(family: str, merges: list[tuple[str, str]], seed: int = 0) -> FrozenLM:
    """A random model of a family in `tiny.FAMILIES` on such a tokenizer."""
    tokenizer = byte_tokenizer(merges)
    config = copy.deepcopy(FAMILIES[family])
    config.vocab_size = len(tokenizer) + SPARE_ROWS
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.25)
    return FrozenLM(model, tokenizer, f"bytes-{family}")
