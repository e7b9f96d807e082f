"""An engine without a model: characters are tokens, and a function decides how likely each continuation is."""

import torch

from trimtab.engines.base import Scored
from trimtab.errors import InvalidSetting
from trimtab.models.usage import Usage


class CharacterCodec:
    """Every character is a token. The name, the context and the chat template are given."""

    name = "characters"
    eos_token_ids = frozenset({0})
    fingerprint = "characters"
    bos_token_id = None

    def __init__(self, context_length=10_000, template=None, opening=()):
        self.context_length, self.template, self.opening = context_length, template, list(opening)

    def encode_prompt(self, prompt):
        return self.encode_text(prompt)

    def encode_text(self, text):
        return [ord(character) for character in text]

    encode_literal = encode_text

    def decode(self, ids):
        return "".join(map(chr, ids))

    def decode_behind(self, ids):
        return self.decode(ids)

    def token_text(self, token_id):
        return chr(token_id)

    def opening_ids(self):
        return self.opening

    def render(self, conversation, continue_final_message=False):
        if self.template is None:
            raise InvalidSetting("got a conversation, but characters has no chat template")
        before, behind = self.template
        (message,) = conversation
        return before + message["content"] + behind


class FakeEngine:
    """Scores a continuation by `likelihood(prefix, continuation)`, both texts; writes nothing.

    Args:
        likelihood: returns a log-probability.
        codec: default: characters.
        capabilities: default: score.
    """

    vocabulary_size = 0x110000
    base = None

    def __init__(self, likelihood, codec=None, capabilities=("score",)):
        self.likelihood, self.codec = likelihood, codec or CharacterCodec()
        self.capabilities = frozenset(capabilities)
        self.asked = []

    @property
    def usage(self):
        return Usage()

    def describe(self):
        return {"engine": "fake"}

    def session(self):
        return self

    def sample(self, requests):
        raise NotImplementedError

    def stream(self, requests):
        raise NotImplementedError

    def score(self, prefixes, continuations, steer=None, top_k=None, max_kl=None):
        texts = [self.codec.decode(prefix) for prefix in prefixes]
        self.asked += texts
        found = [
            torch.tensor([self.likelihood(text, self.codec.decode(ids)) for ids in of_text])
            for text, of_text in zip(texts, continuations, strict=True)
        ]
        return [Scored(each, torch.zeros(len(each), dtype=torch.bool)) for each in found]

    def read(self, texts, steer=None, top_k=None, max_kl=None):
        raise NotImplementedError

    def rewards(self, reward, texts):
        raise NotImplementedError

    def states(self, texts, last):
        raise NotImplementedError
