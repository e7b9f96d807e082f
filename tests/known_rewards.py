"""A reward that anybody can compute by hand: each token has its own, whatever stands before it."""

import torch

from trimtab.models.side_network import LAST


class TokenTable:
    """r(v | x) = table[v], as a reward that reads the language model's own state.

    Args:
        table: the reward of each token.
    """

    name, attributes = "table", ("kind",)
    extra_tokens, pad_token_id, context_length = 0, 0, 10**6

    def __init__(self, table):
        self.table = torch.as_tensor(table, dtype=torch.float32)

    def describe(self):
        """Nothing is known of it."""
        return {"name": self.name}

    def check_serves(self, tokenizer_fingerprint):
        """It serves every tokenizer."""

    def check_candidates(self, k):
        """It scores any number."""

    def reads(self, model):
        """The last state, of which it makes nothing."""
        return LAST

    def start(self, host=None):
        """A state without memory."""
        return TokenTableState(self.table, host)


class TokenTableState:
    """The table, for the rows of a cache."""

    def __init__(self, table, host):
        self.table, self.host = table, host

    def rewards(self, candidates):
        """The table at the candidates."""
        every = self.table.expand(self.host.rows, -1)
        return (every if candidates is None else self.table[candidates])[..., None]

    def draft_rewards(self, candidates, places):
        """The same in every place."""
        every = self.table.expand(self.host.rows, places, -1)
        return (every if candidates is None else self.table[candidates])[..., None]

    def forget(self, *_):
        """There is nothing to remember."""

    prefill = advance = select = join = rollback = extend = retract = forget
