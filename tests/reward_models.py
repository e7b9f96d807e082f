"""Tiny random reward models in the layouts of other libraries, saved to folders."""

from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForSequenceClassification

from tiny import VOCABULARY, tiny_tokenizer

CHAT = "{% for turn in messages %}{{ 'w1 ' if turn['role'] == 'user' else 'w2 ' }}{{ turn['content'] }} {% endfor %}"
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
COMMON = {"vocab_size": VOCABULARY, "max_position_embeddings": 32, "initializer_range": 1.0, **SIZES}


def save_decoder(folder: Path, labels: int = 1, chat: bool = False, pad: bool = False, **settings) -> None:
    """A Llama with a score head, as TRL's RewardTrainer saves it; without a padding token unless asked for."""
    torch.manual_seed(2)
    config = LlamaConfig(num_labels=labels, pad_token_id=0 if pad else None, **COMMON, **settings)
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer = tiny_tokenizer()
    if not pad:
        tokenizer.pad_token = None
    tokenizer.chat_template = CHAT if chat else None
    tokenizer.save_pretrained(folder)


def save_encoder(folder: Path, labels: int = 1, **settings) -> None:
    """A BERT with labels LABEL_0, LABEL_1, …"""
    torch.manual_seed(2)
    BertForSequenceClassification(BertConfig(num_labels=labels, **COMMON, **settings)).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
