"""A draft: tokens that a text may go on with. Where several may come next, it is a tree."""

from collections.abc import Sequence
from typing import NamedTuple, final

EXPECTED = 0.5  # the chance of a token of which nothing is known
TEXT = -1  # in `after`: the text itself


@final
class Draft(NamedTuple):
    """Drafted tokens. No text has more than one of those that follow the same token.

    Attributes:
        tokens: token ids, each behind the one that it follows.
        after: for each, the place in `tokens` of the one that it follows; TEXT for those that follow the text.
        chances: for each, the probability that it is right if the one that it follows is.
    """

    tokens: Sequence[int] = ()
    after: Sequence[int] = ()
    chances: Sequence[float] = ()

    @classmethod
    def chain(cls, tokens: Sequence[int], chance: float = EXPECTED) -> "Draft":
        """Tokens of which each follows the one before."""
        return cls(tokens, range(TEXT, len(tokens) - 1), [chance] * len(tokens))

    @property
    def branches(self) -> bool:
        """Whether it is more than a chain."""
        return any(parent != place - 1 for place, parent in enumerate(self.after))

    @property
    def depths(self) -> list[int]:
        """How many drafted tokens are before each."""
        found: list[int] = []
        for parent in self.after:
            found.append(0 if parent == TEXT else found[parent] + 1)
        return found

    def worths(self, trust: float = 1.0) -> list[float]:
        """The probability that each is right, and all those before it.

        Args:
            trust: multiplies every chance, which stays a probability.
        """
        found: list[float] = []
        for parent, chance in zip(self.after, self.chances, strict=True):
            found.append(min(trust * chance, 1.0) * (1.0 if parent == TEXT else found[parent]))  # NaN stays NaN
        return found

    def within(self, most: int, branches: bool) -> "Draft":
        """What a loop can check of it.

        Args:
            most: how many tokens may follow one another.
            branches: whether it may be a tree; otherwise the likeliest path is left.
        """
        if self.branches and not branches:
            return self.part(self._likeliest_path()).within(most, branches)
        return self.part([place for place, depth in enumerate(self.depths) if depth < most])

    def _likeliest_path(self) -> list[int]:
        path = [TEXT]
        while behind := [place for place, parent in enumerate(self.after) if parent == path[-1]]:
            path.append(max(behind, key=lambda place: self.chances[place]))
        return path[1:]

    def best(self, count: int, trust: float = 1.0) -> "Draft":
        """As many tokens, those that are right most probably, without those at chance 0."""
        worths = self.worths(trust)
        likely = sorted((place for place, worth in enumerate(worths) if worth > 0), key=lambda place: -worths[place])
        return self.part(likely[:count])

    def part(self, places: Sequence[int]) -> "Draft":
        """Some of the tokens, in this order; whatever one follows comes before it."""
        new = {TEXT: TEXT, **{place: number for number, place in enumerate(places)}}
        return Draft(
            [self.tokens[place] for place in places],
            [new[self.after[place]] for place in places],
            [self.chances[place] for place in places],
        )

    def right(self, chosen: Sequence[int]) -> list[int]:
        """The places of the tokens that the text goes on with, in its order.

        Args:
            chosen: the text's token behind the text, and behind each drafted token.
        """
        path, last = [], TEXT
        for place, (token, parent) in enumerate(zip(self.tokens, self.after, strict=True)):
            if parent == last and token == chosen[last + 1]:
                path.append(place)
                last = place
        return path

    def tried(self, right: Sequence[int]) -> list[int]:
        """The places of the tokens of which it is known now whether they were right: what follows a right one."""
        known = {TEXT, *right}
        return [place for place, parent in enumerate(self.after) if parent in known]
