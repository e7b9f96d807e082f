"""The requests that trimtab steers under vLLM's V2 model runner, which gives each a slot and keeps its tokens there."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import torch

from trimtab.engines.vllm.asked import Asked
from trimtab.engines.vllm.rows import BatchRow

if TYPE_CHECKING:
    from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcRequestState


@final
class SlotRows:
    """Rows by slot. A slot is used again when its request has ended; nothing says when that is.

    Args:
        states: vLLM's tokens of every slot; they are read, never written.
    """

    def __init__(self, states: "LogitsProcRequestState"):
        self._states = states
        self._asked: dict[int, Asked] = {}
        self._rows: dict[int, BatchRow] = {}

    def add(self, slot: int, asked: Asked | None) -> None:
        """Forget who had a slot, and remember what its new request asks; None for nothing.

        Its tokens are read in its first step: vLLM has not put them into the slot yet.
        """
        self._rows.pop(slot, None)
        self._asked.pop(slot, None)
        if asked is not None:
            self._asked[slot] = asked

    def in_step(self, slots: Sequence[int]) -> dict[int, BatchRow]:
        """The rows of a step by their places in the batch, with the tokens that were chosen since their last step.

        Args:
            slots: of the requests of the step, in their order.
        """
        ours = {place: slot for place, slot in enumerate(slots) if slot in self._asked}
        if ours:
            self._read(list(ours.values()))
        return {place: self._rows[slot] for place, slot in ours.items()}

    def _read(self, slots: Sequence[int]) -> None:
        """Bring the rows of some slots up to date."""
        states, known = self._states, [self._known(slot) for slot in slots]
        index = torch.tensor(slots, device=states.device)
        lengths = states.total_len.gpu[index].tolist()
        most = max(length - had for length, had in zip(lengths, known, strict=True))
        start = torch.tensor(known, device=states.device)
        columns = start[:, None] + torch.arange(most, device=states.device)
        last = states.all_token_ids.gpu.shape[1] - 1
        tokens = states.all_token_ids.gpu[index[:, None], columns.clamp(max=last)].tolist()
        for slot, new, length, had in zip(slots, tokens, lengths, known, strict=True):
            self._extend(slot, new[: length - had])

    def _known(self, slot: int) -> int:
        return len(self._rows[slot]) if slot in self._rows else 0

    def _extend(self, slot: int, tokens: list[int]) -> None:
        if (row := self._rows.get(slot)) is None:
            prompt = int(self._states.prompt_len.np[slot])
            self._rows[slot] = BatchRow(self._asked[slot], tokens[:prompt], tokens[prompt:])
        else:
            row.written.extend(tokens)
