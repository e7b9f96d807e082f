"""How many tokens to draft: as many as pay, by the acceptance that each row has seen."""

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from transformers import PreTrainedModel

from trimtab.engines.draft import EXPECTED, Draft
from trimtab.models.quick_linear import is_packed

MOST_DRAFTED = 16  # tokens
MEMORY = 0.97  # of what was seen, from one call to the next
ALLOWED = 0.7  # plain steps that drafts may lose before they have saved any
SHARE = 0.03  # of all steps that they may lose besides
BATCH_GAIN = 1.1  # what drafts of several rows must promise: a batch takes as long as its slowest row
MOST_SAVED = 3.0  # steps; what was saved long ago pays for no more failures than that


class CheckCost(NamedTuple):
    """What it costs to draft and to check, in forward calls of one token.

    Attributes:
        call: a call of several tokens, of one row or of several: other matrix products than one token's, and masks.
        token: each token in a call.
        draft: each time that tokens are drafted, for all rows together.
        uneven: what a check of several rows costs besides. Each keeps another number of tokens: the others stay,
            masked, until there are many.
    """

    call: float
    token: float
    draft: float = 0.0
    uneven: float = 0.15

    def of(self, rows: int, drafted: float, deep: int | None = None) -> float:
        """The cost of a call that checks this many drafted tokens of each row; with 0, of a plain step.

        Args:
            rows: the rows.
            drafted: of each row, on average.
            deep: how many follow one another, which is how often was drafted; default: all.
        """
        tokens = rows * (drafted + 1)
        moving = self.uneven * (rows > 1 and drafted > 0)
        drafting = self.draft * (drafted if deep is None else deep)
        return 1 + self.call * (tokens > 1) + self.token * tokens + drafting + moving

    def lost(self, rows: int, drafted: int, deep: int | None = None) -> float:
        """What a check in which no token is right costs more than a plain step, in plain steps."""
        return self.of(rows, drafted, deep) / self.of(rows, 0) - 1


# Of SmolLM2 on two cores; in comments, what 5, 9 and 17 tokens of one row take, in calls of one token.
PLAIN_COST = CheckCost(0.5, 0.035)  # torch's own products: 1.7, 2.1 and 2.4
FLOAT32_COST = CheckCost(0.2, 0.065)  # packed copies in float32: 1.3, 1.5 to 1.6 and 1.8 to 2.2
BFLOAT16_COST = CheckCost(0.0, 0.03)  # packed copies in bfloat16: 1.0, 1.1 and 1.3 to 1.5
TILED_COST = CheckCost(0.07, 0.0125)  # bfloat16 with matrix tiles (AMX): 1.1, 1.1 and 1.1; of 8 rows 5 tokens each, 1.6
# A GPU: a model of 7 billion parameters on an H200 takes 1.1 calls for 5 tokens of one row, and 1.4 for 5 of 32.
OTHER_COST = CheckCost(0.15, 0.003, uneven=0.05)


@final
class Balance:
    """The plain steps that drafts have saved, less those that they have lost. Where it is used up, nothing is drafted.

    So drafts that fail cost little: the steps allowed at the start, and a share of all steps.
    """

    def __init__(self) -> None:
        self._steps = ALLOWED

    def affords(self, lost: float) -> bool:
        """Whether a check may be tried that loses this many steps if it fails."""
        return lost <= self._steps

    def most(self, cost: CheckCost, rows: int, deep: int) -> int:
        """The most drafted tokens of each row that may be tried, of which `deep` follow one another."""
        counts = range(MOST_DRAFTED, 0, -1)
        return next((count for count in counts if self.affords(cost.lost(rows, count, deep))), 0)

    def see(self, written: float, cost: float) -> None:
        """Count one call.

        Args:
            written: tokens that it gave each row, on average.
            cost: of the call, in plain steps.
        """
        self._steps = min(self._steps + written - cost + SHARE, MOST_SAVED)


class Seen(NamedTuple):
    """What became of drafts.

    Attributes:
        right: places for which a token was right.
        tried: those, and places at which none was.
        promised: the chances of all tokens for them.
        checked: tokens that were checked.
        places: for which they were meant.
    """

    right: float = 0.0
    tried: float = 0.0
    promised: float = 0.0
    checked: float = 0.0
    places: float = 0.0


@final
class Acceptance:
    """How many of a row's drafted tokens were right, of late."""

    def __init__(self) -> None:
        self._seen = Seen()

    @property
    def rate(self) -> float:
        """The probability that the next token is among those drafted for its place, if the one before it was."""
        return (EXPECTED + self._seen.right) / (1 + self._seen.tried)

    @property
    def trust(self) -> float:
        """What to multiply the chances of drafted tokens by."""
        return (1 + self._seen.right) / (1 + self._seen.promised)

    @property
    def breadth(self) -> float:
        """How many tokens are checked for a place."""
        return (1 + self._seen.checked) / (1 + self._seen.places)

    def see(self, draft: Draft, right: Sequence[int], missed: bool = False) -> None:
        """Count one call. What was seen earlier counts less.

        Args:
            draft: what was checked.
            right: the places of its tokens that were right.
            missed: whether an empty draft counts as one that was wrong: it cost something, and nothing was worth it.
        """
        tried = draft.tried(right)
        new = Seen(
            len(right),
            len({draft.after[place] for place in tried}) or float(missed),
            sum(draft.chances[place] for place in tried),
            len(draft.tokens),
            max(draft.depths, default=-1) + 1,
        )
        self._seen = Seen(*(MEMORY * before + now for before, now in zip(self._seen, new, strict=True)))


def draft_length(rates: Sequence[float], longest: Sequence[int], cost: CheckCost, breadth: float = 1.0) -> int:
    """How many tokens should follow one another in drafts, to write most per unit of time; 0 where none pays.

    A draft of γ tokens that are each right with probability p yields 1 + p + … + p^γ tokens (2211.17192, equation 1).
    The call reads γ + 1 tokens of every row, because the rows of a batch have one length; of trees, `breadth` times γ.

    Args:
        rates: of each row, p.
        longest: of each row, the longest draft that it may have.
        cost: of a check.
        breadth: how many tokens are checked for a place.
    """
    rows = len(rates)
    best, length = (BATCH_GAIN if rows > 1 else 1) * rows / cost.of(rows, 0), 0
    written = float(rows)
    for tokens in range(1, min(max(longest), MOST_DRAFTED) + 1):
        written += sum(rate**tokens for rate, most in zip(rates, longest, strict=True) if most >= tokens)
        speed = written / cost.of(rows, tokens * breadth, tokens)
        if speed > best:
            best, length = speed, tokens
    return length


def draft_size(worths: Sequence[Sequence[float]], cost: CheckCost, deep: int, most: int) -> int:
    """How many drafted tokens of each row to check, to write most per unit of time; 0 where none pays.

    Args:
        worths: of the tokens of each row, the probability that the text gets them, the best first.
        cost: of a check.
        deep: how many of them follow one another. They are drafted already.
        most: no more.
    """
    rows = len(worths)
    best, size, written = (BATCH_GAIN if rows > 1 else 1) * rows / cost.of(rows, 0, deep), 0, float(rows)
    for tokens in range(1, min(max(map(len, worths)), most) + 1):
        written += sum(worth[tokens - 1] for worth in worths if len(worth) >= tokens)
        speed = written / cost.of(rows, tokens, deep)
        if speed > best:
            best, size = speed, tokens
    return size


def check_cost(model: PreTrainedModel, draft: float = 0.0) -> CheckCost:
    """What it costs to draft and to check drafts.

    Args:
        model: checks them.
        draft: the cost of a drafted token, in forward calls of the model.
    """
    return _measured_cost(model)._replace(draft=draft)


def _measured_cost(model: PreTrainedModel) -> CheckCost:
    if model.device.type != "cpu":
        return OTHER_COST
    if model.dtype == torch.bfloat16 and torch.cpu._is_amx_tile_supported():
        return TILED_COST
    if not is_packed(model):
        return PLAIN_COST
    return BFLOAT16_COST if model.dtype == torch.bfloat16 else FLOAT32_COST
