"""Tiny random draft heads, and one that knows its model."""

import torch

from trimtab.drafts.card import DraftCard
from trimtab.drafts.draft_model import DraftModel, build_head
from trimtab.models.frozen_lm import FrozenLM


def tiny_draft(lm: FrozenLM, seed: int = 0, tokens: int = 40, **changes) -> DraftModel:
    """A random head whose weights are large enough that its guesses differ from each other."""
    card = DraftCard(
        **{
            "base": lm.name,
            "base_fingerprint": lm.base_fingerprint,
            "base_weights_fingerprint": lm.base_weights_fingerprint,
            "tokenizer_fingerprint": lm.codec.fingerprint,
            "tokens": tokens,
            "taps": (1, lm.layers),
            "width": 16,
            "heads": 2,
            **changes,
        }
    )
    torch.manual_seed(seed)
    head = build_head(lm, card, torch.randperm(lm.vocabulary_size)[:tokens].sort().values)
    with torch.no_grad():
        for weight in head.parameters():
            weight.normal_(0, 0.3)
    return DraftModel(head.eval().requires_grad_(False), card, "tiny-draft")
