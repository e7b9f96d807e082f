"""Where the state h of a prefix comes from, for each kind of trunk, while vLLM's batch changes from step to step."""

from collections.abc import Sequence
from typing import Protocol, final, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from trimtab.engines.vllm.rows import BatchRow, PlacedRow
from trimtab.engines.vllm.slot_cache import SlotCache
from trimtab.engines.vllm.step_record import StepRecord
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.kv_cache import KVCache
from trimtab.models.masks import attention_masks
from trimtab.rewards.ladder import Ladder
from trimtab.rewards.trunk import PrefixEncoder


@runtime_checkable
class StateSource(Protocol):
    """Keeps the state of every row that one reward steers."""

    def follow(self, step: StepRecord, rows: Sequence[PlacedRow]) -> None:
        """Take in a step of all rows that the reward steers; others are forgotten."""

    def hidden(self, rows: Sequence[BatchRow]) -> Float[Tensor, "rows hidden"]:
        """The state of rows whose whole text the model has read."""


@final
class OwnStates:
    """The model's own hidden states, of one depth: nothing is computed, and nothing is kept.

    Args:
        depth: `LAST` for the state after the final norm.
        norm: applied to the state; None for none.
    """

    def __init__(self, depth: int, norm: nn.Module | None):
        self._depth, self._norm = depth, norm
        self._last: dict[BatchRow, int] = {}
        self._states: Tensor | None = None

    def follow(self, step: StepRecord, rows: Sequence[PlacedRow]) -> None:
        """Look where the last token of each row is."""
        self._last = {placed.row: placed.end - 1 for placed in rows}
        self._states = step.states[self._depth]

    def hidden(self, rows: Sequence[BatchRow]) -> Float[Tensor, "rows hidden"]:
        """The states of the last tokens."""
        assert self._states is not None
        taken = self._states[[self._last[row] for row in rows]]
        return taken if self._norm is None else self._norm(taken)


class SlottedStates:
    """The states of rows that a second network reads token by token. The rows' keys and values are in slots."""

    def __init__(self) -> None:
        self._cache = SlotCache()
        self._slots: dict[BatchRow, int] = {}
        self._hidden: Tensor | None = None

    def hidden(self, rows: Sequence[BatchRow]) -> Float[Tensor, "rows hidden"]:
        """The states behind the last tokens."""
        assert self._hidden is not None
        return self._hidden[[self._slots[row] for row in rows]]

    def _seat(self, rows: Sequence[BatchRow]) -> None:
        """Give every row a slot, and free those of all others."""
        present = set(rows)
        staying = [row for row in self._slots if row in present]
        if len(staying) < len(self._slots):
            kept = [self._slots[row] for row in staying]
            self._cache.keep(kept)
            self._hidden = None if self._hidden is None else self._hidden[kept]
        new = [row for row in rows if row not in self._slots]
        self._cache.add_rows(len(new))
        if new and self._hidden is not None:
            self._hidden = functional.pad(self._hidden, (0, 0, 0, len(new)))
        self._slots = {row: slot for slot, row in enumerate([*staying, *new])}

    def _put(self, slots: Sequence[int], states: Float[Tensor, "rows hidden"]) -> None:
        """Keep the states of some slots."""
        if self._hidden is None:
            self._hidden = states.new_zeros(len(self._slots), states.shape[1])
        self._hidden[list(slots)] = states


@final
class LadderStates(SlottedStates):
    """A ladder over the model's hidden states: it reads the tokens of each step beside the model, also in chunks.

    Where vLLM did not run the model over the start of a text, because its prefix cache has it, the start is encoded
    once by the copy of the model in this process.

    Args:
        ladder: the side network.
        base: the model in this process.
    """

    def __init__(self, ladder: Ladder, base: FrozenLM):
        super().__init__()
        self._ladder, self._base = ladder, base

    def follow(self, step: StepRecord, rows: Sequence[PlacedRow]) -> None:
        """Read the new tokens of every row: rows with one token together, then those with several."""
        self._seat([placed.row for placed in rows])
        for placed in rows:
            self._catch_up(placed)
        taps = [step.states[tap] for tap in self._ladder.taps]
        for group in by_length(rows):
            starts, counts = [each.start for each in group], [each.end - each.start for each in group]
            places = _places(starts, counts, step.positions.device)
            self._read([self._slots[each.row] for each in group], counts, [states[places] for states in taps])

    def _read(self, slots: Sequence[int], counts: Sequence[int], states: Sequence[Tensor]) -> None:
        """Extend some slots by tokens, of each its own number."""
        new = states[0].shape[1]
        visible = self._cache.open(slots, new, states[0].device)
        output = self._ladder(states, visible, self._cache)
        self._cache.close(slots, counts)
        self._put(slots, _last(output, counts))

    def _catch_up(self, placed: PlacedRow) -> None:
        """Make a row's slot hold exactly the tokens that the model had read before the step."""
        slot = self._slots[placed.row]
        held = self._cache.lengths[slot] = min(self._cache.lengths[slot], placed.before)
        if held == placed.before:
            return
        ids = torch.tensor([placed.row.ids[: placed.before]], device=self._base.device)
        reader = KVCache(self._base.model, self._ladder.taps)
        reader.feed(ids)
        missing = placed.before - held
        self._read([slot], [missing], [self._tapped(reader, tap, missing) for tap in self._ladder.taps])

    def _tapped(self, reader: KVCache, tap: int, tokens: int) -> Float[Tensor, "1 tokens hidden"]:
        return reader.recent(tap, tokens)


@final
class TrunkStates(SlottedStates):
    """Layers of a reward's own, run as one batch over the new tokens of all rows.

    Args:
        encoder: the layers and their BOS.
        device: of the layers.
    """

    def __init__(self, encoder: PrefixEncoder, device: torch.device):
        super().__init__()
        self._encoder, self._device = encoder, device

    def follow(self, step: StepRecord, rows: Sequence[PlacedRow]) -> None:
        """Read the tokens that the layers have not seen, of rows whose whole text the model has read."""
        self._seat([placed.row for placed in rows])
        unseen = {placed.row: self._unseen(placed.row) for placed in rows if placed.ready}
        for single in (True, False):
            group = [row for row, ids in unseen.items() if ids and (len(ids) == 1) is single]
            if group:
                self._read([self._slots[row] for row in group], [unseen[row] for row in group])

    def _unseen(self, row: BatchRow) -> list[int]:
        """The tokens that the layers have not read: of a row that only grows, the last ones."""
        bos = self._encoder.bos_token_id
        opening = [] if bos is None or row.prompt[0] == bos else [bos]
        of_prompt = len(opening) + len(row.prompt)
        held = self._cache.lengths[self._slots[row]]
        return [*opening, *row.ids][held:] if held < of_prompt else list(row.written[held - of_prompt :])

    def _read(self, slots: Sequence[int], texts: Sequence[Sequence[int]]) -> None:
        """Extend some slots by tokens, in one forward call."""
        counts = [len(ids) for ids in texts]
        new = max(counts)
        ids = torch.tensor([[*text, *[text[-1]] * (new - len(text))] for text in texts], device=self._device)
        visible = self._cache.open(slots, new, self._device)
        positions = self._cache.positions
        columns = torch.arange(visible.shape[-1], device=self._device).expand(len(slots), -1)
        output = self._encoder.trunk(
            input_ids=ids,
            position_ids=positions,
            attention_mask=attention_masks(self._encoder.trunk, visible, columns, positions),
            past_key_values=self._cache,
            use_cache=True,
        )
        self._cache.close(slots, counts)
        self._put(slots, _last(output.last_hidden_state, counts))


def by_length(rows: Sequence[PlacedRow]) -> list[list[PlacedRow]]:
    """The rows with one new token, and those with several: a long prompt then pads no row that only decodes."""
    groups = [[row for row in rows if (row.end - row.start == 1) is single] for single in (True, False)]
    return [group for group in groups if group]


def _places(starts: Sequence[int], counts: Sequence[int], device: torch.device) -> Int[Tensor, "rows new"]:
    """The places of the tokens of each row in a step; short rows repeat their last one."""
    steps = torch.arange(max(counts), device=device)
    last = torch.tensor(counts, device=device)[:, None] - 1
    return torch.tensor(starts, device=device)[:, None] + torch.minimum(steps, last)


def _last(states: Float[Tensor, "rows new hidden"], counts: Sequence[int]) -> Float[Tensor, "rows hidden"]:
    """The state of each row's last token, without its padding."""
    return states[range(len(counts)), [count - 1 for count in counts]]
