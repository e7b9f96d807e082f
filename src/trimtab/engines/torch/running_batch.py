"""A batch that runs: requests are added, rows are cancelled, and rows end, all between steps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch

from trimtab.engines.base import Choice, Chunk, Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.ending import RowEnding
from trimtab.engines.torch.loop import NOT_FINITE, DecodeLoop, Step
from trimtab.engines.torch.trace import trace_step
from trimtab.errors import TrimtabError
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.prefix_cache import PrefixCache
from trimtab.models.usage import Usage

Kind = tuple[object, ...]


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
    """A decode loop and its rows, in the loop's order."""

    loop: DecodeLoop
    rows: list[Row]


@final
class RunningBatch:
    """Writes requests that may come and go.

    A row's text does not depend on the others, nor on when it joined: in float32, up to ties that rounding breaks; with
    `batch_invariant`, in every dtype, to the bit.

    Rows with a top_k, with only a top_p, and with neither run in separate loops: a row over the whole vocabulary would
    make all others score it too.

    Args:
        lm: the language model; its lock is held during each step.
        prefix_cache: prefixes that were encoded before; not used with `batch_invariant`.
        usage: counts what goes through the models.
        batch_invariant: run each row in a loop of its own, so that every tensor has the shape that it has alone.
    """

    def __init__(
        self,
        lm: FrozenLM,
        prefix_cache: PrefixCache | None = None,
        usage: Usage | None = None,
        batch_invariant: bool = False,
    ):
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

    def _rows(self, number: int, request: Request, limit: int) -> list[Row]:
        endings = [RowEnding(self._lm.codec, request, limit) for _ in range(request.params.n)]
        return [Row(number, sample, request.params, ending) for sample, ending in enumerate(endings)]

    def _start(self, kind: Kind, requests: Sequence[Request], rows: list[Row]) -> None:
        loop = DecodeLoop(self._lm, requests, self._prefix_cache, self._usage)
        if kind in self._loops:
            self._loops[kind].loop.join(loop)
            self._loops[kind].rows += rows
        else:
            self._loops[kind] = LoopRows(loop, rows)

    def _start_alone(self, request: Request, rows: Sequence[Row]) -> None:
        """Give every row a loop that has encoded its prompt alone."""
        one = replace(request, params=replace(request.params, n=1))
        for row in rows:
            loop = DecodeLoop(self._lm, [one], None, self._usage, first_sample=row.sample)
            self._loops[row.request, row.sample] = LoopRows(loop, [row])

    def _step(self, kind: Kind, tokens: int) -> list[Chunk]:
        running = self._loops[kind]
        room = min(row.ending.room for row in running.rows)  # a row at its limit may be at the end of the context
        steps = [running.loop.step() for _ in range(min(tokens, room))]
        written = torch.stack([step.sound_tokens for step in steps], dim=1).tolist()
        sound = [new[: new.index(NOT_FINITE)] if NOT_FINITE in new else new for new in written]
        counts = [row.ending.take(new) for row, new in zip(running.rows, sound, strict=True)]
        faults = [
            running.loop.fault(steps[len(taken)], place) if len(taken) < len(steps) and not row.ending.reason else None
            for place, (row, taken) in enumerate(zip(running.rows, sound, strict=True))
        ]
        chunks = _chunks(running.rows, steps, counts, faults)
        self._keep(kind, [chunk.finish_reason is None and chunk.fault is None for chunk in chunks])
        return chunks

    def _keep(self, kind: Kind, kept: Sequence[bool]) -> None:
        running = self._loops[kind]
        if all(kept):
            return
        places = [place for place, stays in enumerate(kept) if stays]
        if places or self._prefix_cache:
            running.loop.keep(places)
        running.rows = [running.rows[place] for place in places]
        if not places:
            del self._loops[kind]


def _kind(params: SamplingParams) -> Kind:
    return params.top_k is None, params.top_k is None and params.top_p is None


def _chunks(
    rows: Sequence[Row], steps: Sequence[Step], counts: Sequence[int], faults: Sequence[TrimtabError | None]
) -> list[Chunk]:
    """The tokens of each row with their candidates, on the CPU."""
    widths = [row.params.top_k for row in rows]
    traced = [trace_step(step, widths) for step in steps]
    choices: list[tuple[Choice, ...]] = [
        tuple(step[place] for step in traced[:count]) for place, count in enumerate(counts)
    ]
    return [
        Chunk(row.request, row.sample, written, row.ending.reason, fault)
        for row, written, fault in zip(rows, choices, faults, strict=True)
    ]
