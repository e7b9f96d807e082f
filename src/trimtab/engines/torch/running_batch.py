"""A batch that runs: requests are added, rows are cancelled, and rows end, all between steps."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

import torch

from trimtab.engines.base import Chunk, Request
from trimtab.engines.lookup import PromptLookup
from trimtab.engines.proposer import Proposer
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.ending import RowEnding
from trimtab.engines.torch.loop import DecodeLoop
from trimtab.engines.torch.speculation import Speculation
from trimtab.engines.torch.written import Written, write
from trimtab.errors import TrimtabError
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.prefix_cache import PrefixCache
from trimtab.models.usage import Usage

Kind = tuple[object, ...]
WIDTHS = (64, 1024)  # candidates: rows with more do not slow those with fewer
PROPOSERS: Mapping[str, Proposer] = {"lookup": PromptLookup()}


@dataclass(frozen=True)
class Row:
    """One sample of one request.

    Attributes:
        request: the number of the request.
        sample: the number of the sample.
        params: how it is sampled.
        ending: its tokens, and why it ended.
    """

    request: int
    sample: int
    params: SamplingParams
    ending: RowEnding


@dataclass
class LoopRows:
    """A decode loop and its rows, in the loop's order; what drafts their tokens, if anything does."""

    loop: DecodeLoop
    rows: list[Row]
    speculation: Speculation | None = None


@final
class RunningBatch:
    """Writes requests that may come and go.

    A row's text does not depend on the others, nor on when it joined: in float32, up to ties that rounding breaks; with
    `batch_invariant`, in every dtype, to the bit.

    Rows with a top_k (up to 64, up to 1,024, and more), with only a top_p, and with neither run in separate loops: a
    row over the whole vocabulary would make all others score it too. So do rows that are drafted, for each proposer.

    Args:
        lm: the language model; its lock is held during each step.
        prefix_cache: prefixes that were encoded before; not used with `batch_invariant`.
        usage: counts what goes through the models.
        batch_invariant: run each row in a loop of its own, so that every tensor has the shape that it has alone.
            Nothing is drafted then: a call that checks a draft has another shape.
        proposers: what drafts tokens, by the names that `SamplingParams.speculate` takes.
    """

    def __init__(
        self,
        lm: FrozenLM,
        prefix_cache: PrefixCache | None = None,
        usage: Usage | None = None,
        batch_invariant: bool = False,
        proposers: Mapping[str, Proposer] = PROPOSERS,
    ):
        self._proposers = proposers
        self._lm, self._usage, self._batch_invariant = lm, usage or Usage(), batch_invariant
        self._prefix_cache = None if batch_invariant else prefix_cache
        self._loops: dict[Kind, LoopRows] = {}
        self._requests = 0

    @property
    def active(self) -> bool:
        """Whether any row is unfinished."""
        return bool(self._loops)

    @torch.inference_mode()
    def add(self, requests: Sequence[Request], limits: Sequence[int]) -> list[int]:
        """Encode the prompts of new requests and add their rows.

        Args:
            requests: checked requests.
            limits: the maximum number of new tokens of each.

        Returns:
            The numbers of the requests, which `step` and `cancel` use.
        """
        kinds = [_kind(request.params) for request in requests]
        with self._lm.lock:
            numbers = list(range(self._requests, self._requests + len(requests)))
            self._requests += len(requests)
            if self._batch_invariant:
                for number, request, limit in zip(numbers, requests, limits, strict=True):
                    self._start_alone(request, self._rows(number, request, limit))
                return numbers
            for kind in dict.fromkeys(kinds):
                chosen = [place for place, other in enumerate(kinds) if other == kind]
                rows = [row for place in chosen for row in self._rows(numbers[place], requests[place], limits[place])]
                self._start(kind, [requests[place] for place in chosen], rows)
        return numbers

    @torch.inference_mode()
    def step(self, tokens: int = 1) -> list[Chunk]:
        """Write up to this many tokens of every row; returns them, the last ones of a row with its finish reason.

        Rows that are drafted get as many as one forward call gives.

        A row whose logits or rewards are NaN or infinite ends there: its last chunk has the fault. All other rows are
        written as if it had not been there.
        """
        with self._lm.lock:
            return [chunk for kind in list(self._loops) for chunk in self._step(kind, tokens)]

    @torch.inference_mode()
    def cancel(self, request: int) -> None:
        """Drop the rows of a request."""
        with self._lm.lock:
            for kind, running in list(self._loops.items()):
                self._keep(kind, [row.request != request for row in running.rows])

    def close(self) -> None:
        """Drop all rows, also after a step that failed."""
        with self._lm.lock:
            self._loops.clear()

    def _rows(self, number: int, request: Request, limit: int) -> list[Row]:
        endings = [RowEnding(self._lm.codec, request, limit) for _ in range(request.params.n)]
        return [Row(number, sample, request.params, ending) for sample, ending in enumerate(endings)]

    def _start(self, kind: Kind, requests: Sequence[Request], rows: list[Row]) -> None:
        proposer = None if (name := requests[0].params.speculate) is None else self._proposers[name]
        reader = None if proposer is None else proposer.reads(self._lm.model)
        readers = [] if reader is None else [reader]
        loop = DecodeLoop(self._lm, requests, self._prefix_cache, self._usage, readers=readers)
        speculation = None
        if proposer is not None:
            speculation = Speculation(proposer, requests, loop.host)
        if kind not in self._loops:
            self._loops[kind] = LoopRows(loop, rows, speculation)
            return
        running = self._loops[kind]
        running.loop.join(loop)
        running.rows += rows
        if running.speculation is not None and speculation is not None:
            running.speculation.join(speculation)

    def _start_alone(self, request: Request, rows: Sequence[Row]) -> None:
        """Give every row a loop that has encoded its prompt alone."""
        for row in rows:
            first = request.first_sample + row.sample
            one = replace(request, params=replace(request.params, n=1), first_sample=first)
            loop = DecodeLoop(self._lm, [one], None, self._usage)
            self._loops[row.request, row.sample] = LoopRows(loop, [row])

    def _step(self, kind: Kind, tokens: int) -> list[Chunk]:
        running = self._loops[kind]
        rooms = [row.ending.room for row in running.rows]  # a row at its limit may be at the end of the context
        written = write(running.loop, running.speculation, rooms, tokens)
        counts = [row.ending.take(new) for row, new in zip(running.rows, written.tokens, strict=True)]
        faults = [_fault(running, written, place) for place in range(len(running.rows))]
        chunks = _chunks(running.rows, written, counts, faults)
        self._keep(kind, [chunk.finish_reason is None and chunk.fault is None for chunk in chunks])
        return chunks

    def _keep(self, kind: Kind, kept: Sequence[bool]) -> None:
        running = self._loops[kind]
        if all(kept):
            return
        places = [place for place, stays in enumerate(kept) if stays]
        if places or self._prefix_cache:
            running.loop.keep(places)
        if running.speculation is not None:
            running.speculation.select(places)
        running.rows = [running.rows[place] for place in places]
        if not places:
            del self._loops[kind]


def _kind(params: SamplingParams) -> Kind:
    """Rows of one kind share a loop, in which a reward scores as many candidates as the row with the most has."""
    whole = params.top_k is None and params.top_p is None
    return params.top_k is None, whole, bisect_left(WIDTHS, params.top_k or 0), params.speculate


def _fault(running: LoopRows, written: Written, place: int) -> TrimtabError | None:
    """The fault of a row that has not ended before it."""
    step = None if running.rows[place].ending.reason else written.fault_step(place)
    return None if step is None else running.loop.fault(step, place)


def _chunks(
    rows: Sequence[Row], written: Written, counts: Sequence[int], faults: Sequence[TrimtabError | None]
) -> list[Chunk]:
    """The tokens of each row with their candidates, on the CPU."""
    choices = written.choices(counts, [row.params.top_k for row in rows])
    return [
        Chunk(row.request, row.sample, of_row, row.ending.reason, faults[place], written.usage(place, counts[place]))
        for place, (row, of_row) in enumerate(zip(rows, choices, strict=True))
    ]
