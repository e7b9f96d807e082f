"""Drafts that know the text: always right, always wrong, or right up to some place; for the laws of speculation."""

import random

from tiny import VOCABULARY
from trimtab.engines.base import Request
from trimtab.engines.draft import TEXT, Draft
from trimtab.engines.torch.engine import TorchEngine

TAIL = 6  # tokens drafted behind the end of a text


class KnownDrafts:
    """Drafts from texts that were written before, with a share of wrong tokens. Where they may branch, most do.

    Args:
        engine: writes the texts.
        requests: the texts.
        wrong: the probability that a drafted token is wrong.
        seed: of the errors, the lengths, and what is drafted behind the end of a text.
    """

    def __init__(self, engine: TorchEngine, requests: list[Request], wrong: float, seed: int = 0):
        self.wrong, self.random = wrong, random.Random(seed)
        written = zip(requests, engine.sample(requests), strict=True)
        self.texts = {key_of(request): [each.token_ids for each in found] for request, found in written}
        self.trees = 0  # how many drafts had branches

    cost = 0.0

    def reads(self, model):
        """Nothing."""

    def start(self, requests, host):
        """A state that knows the rows' texts."""
        return KnownDraftsState(self, [text for each in requests for text in self.texts[key_of(each)]])


class KnownDraftsState:
    """What is left of each row's text."""

    def __init__(self, drafts, rows):
        self.drafts, self.rows = drafts, [list(row) for row in rows]

    def propose(self, most, steer, branches):
        """The rest of the text, some tokens wrong, of a random length in one row of three."""
        chains = [self.draft(rest, length) for rest, length in zip(self.rows, most, strict=True)]
        return [self.tree(chain) if branches and self.drafts.random.random() < 0.8 else chain for chain in chains]

    def tree(self, chain):
        """The chain, with other tokens beside each of its own, which go on too."""
        random, tokens, after, last = self.drafts.random, [], [], TEXT
        for number, token in enumerate(chain.tokens):
            others = [other for other in random.sample(range(VOCABULARY), 2) if other != token][: random.randint(0, 2)]
            siblings = random.sample([token, *others], 1 + len(others))
            places = {sibling: len(tokens) + place for place, sibling in enumerate(siblings)}
            going_on = others if number + 1 < len(chain.tokens) else []
            tokens += siblings + [token] * len(going_on)
            after += [last] * len(siblings) + [places[other] for other in going_on]
            last = places[token]
        draft = Draft(tokens, after, [0.5] * len(tokens))
        self.drafts.trees += draft.branches
        return draft

    def draft(self, rest, most):
        draw = self.drafts.random
        tail = [draw.randrange(VOCABULARY) for _ in range(TAIL)]
        cut = draw.randint(0, most) if draw.random() < 1 / 3 else most
        chosen = [(token + 1) % VOCABULARY if draw.random() < self.drafts.wrong else token for token in rest]
        return Draft.chain([*chosen, *tail][:cut])

    def append(self, tokens):
        """Forget what was written."""
        self.rows = [rest[len(new) :] for rest, new in zip(self.rows, tokens, strict=True)]

    def select(self, rows):
        """Fork, re-order or drop rows."""
        self.rows = [list(self.rows[row]) for row in rows]

    def join(self, other):
        """Append the rows of another state."""
        self.rows += other.rows


def key_of(request):
    """What a request's texts depend on, but for its steer."""
    return tuple(request.prefix), request.params.seed
