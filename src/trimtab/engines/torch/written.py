"""What one call of a decode loop wrote: some plain steps, or a step that checked drafts."""

from collections.abc import Sequence
from typing import final

import torch

from trimtab.engines.base import Choice, DecodeUsage
from trimtab.engines.draft import Draft
from trimtab.engines.torch.loop import NOT_FINITE, DecodeLoop, Step
from trimtab.engines.torch.speculation import Speculation
from trimtab.engines.torch.trace import trace_step

Choices = list[tuple[Choice, ...]]


@final
class PlainSteps:
    """Steps of one token of every row. Where a row ends is not known yet.

    Attributes:
        tokens: of each row, up to the first that was chosen by numbers that are not finite.

    Args:
        loop: takes the steps.
        count: how many.
    """

    def __init__(self, loop: DecodeLoop, count: int):
        self._steps = [loop.step() for _ in range(count)]
        written = torch.stack([step.sound_tokens for step in self._steps], dim=1).tolist()
        self.tokens = [_sound(new) for new in written]

    def fault_step(self, row: int) -> Step | None:
        """The step whose numbers are not finite in a row; None if all are finite."""
        count = len(self.tokens[row])
        return self._steps[count] if count < len(self._steps) else None

    def choices(self, counts: Sequence[int], widths: Sequence[int | None]) -> Choices:
        """The first tokens of each row with their candidates, on the CPU.

        Args:
            counts: how many tokens of each row.
            widths: each row's number of candidates; None for the whole vocabulary.
        """
        traced = [trace_step(step, widths) for step in self._steps]
        return [tuple(step[row] for step in traced[:count]) for row, count in enumerate(counts)]

    def usage(self, row: int, count: int) -> DecodeUsage:
        """What the first tokens of a row cost: one forward call each."""
        return DecodeUsage(forwards=count, tokens=count)


@final
class CheckedDrafts:
    """The tokens of one forward call over the drafts of all rows. Where a row ends is not known yet.

    Attributes:
        tokens: as in `PlainSteps`.
        right: the places of each draft's tokens that were right.

    Args:
        loop: checks them.
        drafts: of each row; not all are empty.
    """

    def __init__(self, loop: DecodeLoop, drafts: Sequence[Draft]):
        self._step = loop.check(drafts)
        self._places = 1 + max(len(draft.tokens) for draft in drafts)
        chosen = self._step.sound_tokens.view(-1, self._places).tolist()
        self.right = [draft.right(tokens) for draft, tokens in zip(drafts, chosen, strict=True)]
        self._drafted = [len(draft.tokens) for draft in drafts]
        loop.accept(self.right)
        self._paths = [[0, *(place + 1 for place in path)] for path in self.right]
        self._whole = [[tokens[place] for place in path] for tokens, path in zip(chosen, self._paths, strict=True)]
        self.tokens = [_sound(new) for new in self._whole]

    def fault_step(self, row: int) -> Step | None:
        """As in `PlainSteps`: the place behind the row's last sound token, as a step of all rows."""
        count, path = len(self.tokens[row]), self._paths[row]
        return self._step.select(slice(path[count], None, self._places)) if count < len(path) else None

    def choices(self, counts: Sequence[int], widths: Sequence[int | None]) -> Choices:
        """As in `PlainSteps`; of the accepted tokens alone."""
        rows = [row for row, count in enumerate(counts) for _ in range(count)]
        places = [row * self._places + place for row, count in enumerate(counts) for place in self._paths[row][:count]]
        if not rows:
            return [()] * len(counts)
        index = torch.tensor(places, device=self._step.tokens.device)
        traced = iter(trace_step(self._step.select(index), [widths[row] for row in rows]))
        return [tuple(next(traced) for _ in range(count)) for count in counts]

    def usage(self, row: int, count: int) -> DecodeUsage:
        """What the first tokens of a row cost: one forward call for all."""
        return DecodeUsage(1, self._drafted[row], min(len(self.right[row]), count), count)


Written = PlainSteps | CheckedDrafts


def write(loop: DecodeLoop, speculation: Speculation | None, rooms: Sequence[int], tokens: int) -> Written:
    """Write tokens of every row: what one check of drafts gives, if any pay, or up to `tokens` plain steps.

    Args:
        loop: the rows.
        speculation: drafts their tokens; None for plain steps.
        rooms: how many tokens each row may still have.
        tokens: the most plain steps to take.
    """
    if speculation is None:
        return PlainSteps(loop, min(tokens, *rooms))
    drafts = [Draft() for _ in rooms]
    if loop.checks_drafts:
        drafts = speculation.propose(rooms, loop.steer_draft, loop.checks_branches)
    checked = CheckedDrafts(loop, drafts) if any(draft.tokens for draft in drafts) else None
    written: Written = checked or PlainSteps(loop, 1)
    speculation.append(drafts, checked.right if checked else [()] * len(rooms), written.tokens)
    return written


def _sound(tokens: list[int]) -> list[int]:
    """The tokens up to the first that was chosen by numbers that are not finite."""
    return tokens[: tokens.index(NOT_FINITE)] if NOT_FINITE in tokens else tokens
