"""A reward head that is no part of the package: a trained table of bigrams."""

from collections.abc import Iterable

import torch
from torch import nn

from trimtab.rewards.heads.base import PrefixRewards, RewardHead, make_link


class BigramHead(RewardHead):
    """r(v | x) = table[last token of x, v]. It reads token ids and ignores the trunk's hidden states."""

    def __init__(self, vocabulary: int, attributes: int, link: str):
        super().__init__()
        self.attributes = attributes
        self.link = make_link(link)
        self.table = nn.Parameter(torch.zeros(vocabulary, vocabulary, attributes))

    @classmethod
    def build(cls, card, embedding):
        return cls(len(embedding), len(card.attributes), card.link)

    @classmethod
    def describe(cls, card):
        return "table of bigrams"

    def score_prefixes(self, texts):
        previous = texts.ids.roll(1, dims=1)
        known = texts.mask & texts.mask.roll(1, dims=1)
        known[:, 0] = False
        return PrefixRewards(self.table[previous, texts.ids], known, texts.hidden)

    def score_candidates(self, encoder, ids, mask, candidates, slots):
        opened, _ = encoder.with_bos(ids, mask)
        previous = opened.roll(1, dims=1)[:, -ids.shape[1] :].gather(1, slots)
        return self.link(self.table[previous[..., None], candidates])

    def score_next_tokens(self, encoder, prefixes: Iterable, tokens):
        last = torch.cat([prefix.ids[:, -1] for prefix in prefixes])
        return self.table[last][:, tokens].double()

    def start(self, encoder, host=None):
        return BigramState(self, encoder)


class BigramState:
    """The ids of the prefixes, padded on the left."""

    def __init__(self, head, encoder):
        self.head, self.encoder = head, encoder

    def prefill(self, ids, mask):
        self.ids, _ = self.encoder.with_bos(ids, mask)

    def rewards(self, candidates):
        rows = self.head.table[self.ids[:, -1]]
        return self.head.link(rows if candidates is None else rows[torch.arange(len(rows))[:, None], candidates])

    def advance(self, tokens, choice=None):
        self.ids = torch.cat([self.ids, tokens[:, None]], dim=1)

    def select(self, rows):
        self.ids = self.ids[rows]

    def join(self, other):
        width = min(self.ids.shape[1], other.ids.shape[1])
        self.ids = torch.cat([self.ids[:, -width:], other.ids[:, -width:]])

    def rollback(self, tokens):
        self.ids = self.ids[:, : self.ids.shape[1] - tokens]
