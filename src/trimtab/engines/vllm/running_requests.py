"""Requests that vLLM writes together, as the server and `sample` use them: they join and leave between steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import final

from trimtab.engines.base import Chunk, DecodeUsage, Request
from trimtab.engines.torch.ending import RowEnding
from trimtab.engines.vllm.asked import Asked, Outbox
from trimtab.engines.vllm.request_pool import RequestPool, RunningRequest
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.usage import Usage


@final
@dataclass(frozen=True, eq=False)
class _Sample:
    """One sample of one request.

    Attributes:
        request: the number of the request.
        sample: the number of the sample.
        ending: its tokens, and why it ended.
        running: vLLM's request.
        outbox: where the processor puts its choices.
    """

    request: int
    sample: int
    ending: RowEnding
    running: RunningRequest
    outbox: Outbox


@final
class RunningRequests:
    """A batch whose requests come and go, as the torch engine's `RunningBatch`.

    Args:
        pool: the engine's requests, this batch's among them.
        base: the model in this process.
        usage: counts what goes through the model: tokens of prompts, also of those that vLLM has cached.
    """

    def __init__(self, pool: RequestPool, base: FrozenLM, usage: Usage):
        self._pool, self._base, self._usage = pool, base, usage
        self._samples: list[_Sample] = []
        self._requests = 0

    @property
    def active(self) -> bool:
        """Whether any sample is unfinished."""
        return bool(self._samples)

    def add(self, requests: Sequence[Request], limits: Sequence[int]) -> list[int]:
        """Add the samples of new requests.

        Args:
            requests: checked requests.
            limits: the maximum number of new tokens of each.

        Returns:
            The numbers of the requests, which `step` and `cancel` use.
        """
        numbers = list(range(self._requests, self._requests + len(requests)))
        self._requests += len(requests)
        for number, request, limit in zip(numbers, requests, limits, strict=True):
            for sample in range(request.params.n):
                self._samples.append(self._start(number, request, limit, sample))
        return numbers

    def step(self) -> list[Chunk]:
        """The new tokens of every sample, after a step of vLLM unless some are there already; the last with its reason.

        There may be none: a long prompt takes several steps. A sample whose logits or rewards are NaN or infinite ends
        there: its last chunk has the fault.
        """
        with self._pool.lock:
            if not any(each.outbox.choices or each.outbox.fault for each in self._samples):
                self._pool.step()
            news = [each for each in self._samples if each.outbox.choices or each.outbox.fault]
            chunks = [self._take(each) for each in news]
            if chunks:
                self._usage.count(sum(len(chunk.choices) for chunk in chunks))
            ended = [each for each, chunk in zip(news, chunks, strict=True) if chunk.finish_reason or chunk.fault]
            self._end(lambda each: each in ended)
        return chunks

    def cancel(self, request: int) -> None:
        """Drop the samples of a request."""
        self._end(lambda each: each.request == request)

    def close(self) -> None:
        """Drop all requests."""
        self._end(lambda each: True)

    def _start(self, number: int, request: Request, limit: int, sample: int) -> _Sample:
        codec, outbox = self._base.codec, Outbox()
        one = replace(request.params, n=1)
        place = request.first_sample + sample
        asked = Asked(one, request.steer, self._base, place, len(request.written), outbox=outbox)
        self._usage.count(len(request.tokens))
        running = self._pool.write(request.tokens, asked, limit, list(codec.eos_token_ids))
        return _Sample(number, sample, RowEnding(codec, request, limit), running, outbox)

    def _take(self, sample: _Sample) -> Chunk:
        """Empty an outbox up to the sample's end."""
        box = sample.outbox
        count = sample.ending.take([choice.token_id for choice in box.choices])
        choices, fault = tuple(box.choices[:count]), box.fault
        box.choices, box.fault = [], None
        reason = sample.ending.reason
        usage = DecodeUsage(forwards=count, tokens=count)
        return Chunk(sample.request, sample.sample, choices, reason, None if reason else fault, usage)

    def _end(self, leaves: Callable[[_Sample], bool]) -> None:
        for sample in [each for each in self._samples if leaves(each)]:
            self._pool.end(sample.running)
            self._samples.remove(sample)
