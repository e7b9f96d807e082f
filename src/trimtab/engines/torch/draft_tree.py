"""Trees of tokens that a draft head grows, place by place: the best guesses for a place, and what follows the best."""

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

from trimtab.drafts.head import DraftHead
from trimtab.engines.draft import TEXT, Draft
from trimtab.engines.proposer import SteerDraft
from trimtab.engines.torch.sampling import RowSampling
from trimtab.models.kv_cache import KVCache
from trimtab.steering.rule import Candidates

KNOWN = 0.8  # about how often a head has the right token among its candidates; fitted on SmolLM2
WIDE = 4  # tokens of one row that are gone on from at a place; of several rows, as many for all


class TreeShape(NamedTuple):
    """How many tokens a tree has.

    Attributes:
        first: for the first place.
        wide: how many of those for a place are gone on from.
        each: behind each of these.
    """

    first: int
    wide: int
    each: int

    @classmethod
    def of(cls, rows: int) -> "TreeShape":
        """What is cheap to draft for this many rows: a call over few tokens reads the head's weights, and no more."""
        return cls(2 * WIDE, max(1, WIDE // rows), WIDE)


CHAIN = TreeShape(1, 1, 1)


class Level(NamedTuple):
    """The tokens for one place.

    Attributes:
        tokens: their ids.
        after: the places in the draft of those that they follow.
        chances: of each, if the one before it is right.
    """

    tokens: Int[Tensor, "rows drafted"]
    after: Int[Tensor, "rows drafted"]
    chances: Float[Tensor, "rows drafted"]


@final
class Growth:
    """A tree for each row of a loop.

    Args:
        head: guesses.
        host: the loop's cache, which has what the head reads.
        sampling: how each row chooses its next token.
        last: the last token of each row, which the language model has not read.
    """

    def __init__(self, head: DraftHead, host: KVCache, sampling: RowSampling, last: Int[Tensor, " rows"]):
        self._head, self._cache = head, DynamicCache()
        self._sampling = self._repeated = sampling  # of the rows; of each row for each token that is gone on from
        self._cache.update(*host.keys_values(head), 0)
        self._text = host.mask[:, None]
        self._levels, self._count = list[Level](), 0  # tokens so far
        # what is gone on from: states and tokens, their places and worths, and the columns that they see of the head's
        self._state, self._token = host.hidden(head)[:, None], last[:, None]
        self._place = torch.full_like(self._token, TEXT)
        self._worth = torch.ones_like(self._token, dtype=torch.float64)
        self._seen = torch.zeros(*self._token.shape, 0, dtype=torch.bool, device=last.device)

    def grow(self, shape: TreeShape, steer: SteerDraft) -> None:
        """Draft tokens for one more place."""
        wide = self._token.shape[1]
        guess = self._guess()
        ids, chances = self._chances(guess, steer)
        best, columns = chances.topk(min(shape.each if self._levels else shape.first, chances.shape[1]), dim=-1)
        children = best.shape[1]
        level = Level(
            ids.gather(1, columns).unflatten(0, (-1, wide)).flatten(1),
            self._place.repeat_interleave(children, dim=1),
            best.unflatten(0, (-1, wide)).flatten(1),
        )
        self._levels.append(level)
        worth = self._worth.repeat_interleave(children, dim=1) * level.chances
        self._go_on(worth, children, guess, min(shape.wide, worth.shape[1]))

    def drafts(self, most: Sequence[int]) -> list[Draft]:
        """The tree of each row, in one transfer.

        Args:
            most: how many tokens of each row may follow one another.
        """
        columns = [torch.cat(each, dim=1).double() for each in zip(*self._levels, strict=True)]
        ends = [0]
        for level in self._levels:
            ends.append(ends[-1] + level.tokens.shape[1])
        found = torch.stack(columns, dim=1).tolist()
        return [
            Draft(list(map(int, tokens[:end])), list(map(int, after[:end])), chances[:end])
            for (tokens, after, chances), end in zip(found, (ends[min(m, len(ends) - 1)] for m in most), strict=True)
        ]

    def _guess(self) -> Float[Tensor, "rows wide width"]:
        """The head's guesses behind what is gone on from."""
        wide = self._token.shape[1]
        own = torch.eye(wide, dtype=torch.bool, device=self._seen.device).expand(len(self._seen), -1, -1)
        self._seen = torch.cat([self._seen, own], dim=-1)
        allowed = torch.cat([self._text.expand(-1, wide, -1), self._seen], dim=-1)
        return self._head.guess(self._state, self._token, allowed[:, None], self._cache)

    def _chances(
        self, guess: Float[Tensor, "rows wide width"], steer: SteerDraft
    ) -> tuple[Int[Tensor, "rows_wide k"], Float[Tensor, "rows_wide k"]]:
        """Candidates for the next place, and how likely each is what the loop will choose there.

        The loop will choose the best of steered logits and noise. The noise is known, the logits are guessed.
        """
        rows, wide = guess.shape[:2]
        if len(self._repeated.params) != rows * wide:
            self._repeated = self._sampling.repeated(wide)
        sampling = self._repeated.later(len(self._levels))
        frequent = sampling.candidates(self._head.logits(guess).flatten(0, 1).float())
        ids = self._head.tokens[frequent.ids]
        together, logits = (each.view(rows, -1) for each in (ids, frequent.logits))
        steered = steer(Candidates(together, logits, whole=False)).view(rows * wide, -1)
        return ids, KNOWN * sampling.with_noise(steered, ids).softmax(-1)

    def _go_on(
        self, worth: Float[Tensor, "rows drafted"], children: int, guess: Float[Tensor, "rows wide width"], wide: int
    ) -> None:
        """Choose the best of the last tokens to go on from."""
        self._worth, best = worth.topk(wide, dim=1)
        self._token = self._levels[-1].tokens.gather(1, best)
        self._place = self._count + best
        self._count += worth.shape[1]
        parent = best // children
        every = torch.arange(len(best), device=best.device)[:, None]
        self._state, self._seen = self._head.onward(guess[every, parent]), self._seen[every, parent]
