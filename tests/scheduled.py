"""A scripted batch for the scheduler, and what waits for its tickets."""

import asyncio
import threading

import pytest
import torch

from trimtab.engines.base import Choice, Chunk, Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.testing.scripted_engine import ScriptedEngine, WordCodec

SECONDS = 20


ENGINE = ScriptedEngine(WordCodec(["a"]), lambda words: {"a": 1.0})  # no test steps it


class CountingBatch:
    """Writes the tokens first, first + 1, … of every request; a test may hold it, and make it fail."""

    def __init__(self, script):
        self.script, self.rows, self.added, self.closed = script, {}, 0, 0
        script.batches.append(self)

    @property
    def active(self):
        return bool(self.rows)

    def add(self, requests):
        numbers = []
        for request in requests:  # as engines do: all are checked before any is added
            self.script.before_add(request)
        for request in requests:
            numbers.append(self.added)
            self.rows[self.added] = [request, [0] * request.params.n]
            self.added += 1
        self.script.groups.append(len(requests))
        return numbers

    def step(self):
        self.script.steps += 1
        self.script.before_step(self)
        return [chunk for number in list(self.rows) for chunk in self._write(number)]

    def _write(self, number):
        request, written = self.rows[number]
        chunks = []
        for sample, count in enumerate(written):
            if count < request.params.max_new_tokens:
                written[sample] += 1
                reason = "length" if written[sample] == request.params.max_new_tokens else None
                chunks.append(Chunk(number, sample, (choice(self.script.token(request, count)),), reason))
        if all(count == request.params.max_new_tokens for count in written):
            del self.rows[number]
        return chunks

    def cancel(self, number):
        self.script.before_cancel()
        self.rows.pop(number, None)

    def close(self):
        self.closed += 1
        self.script.before_close()


def choice(token):
    return Choice(token, 0, torch.tensor([token]), torch.zeros(1), torch.zeros(1), {})


class Script:
    """What the batches of a test do, and what happened."""

    def __init__(self):
        self.batches, self.groups, self.steps = [], [], 0
        self.gate = threading.Event()
        self.gate.set()

    def before_add(self, request):
        pass

    def before_cancel(self):
        pass

    def before_close(self):
        pass

    def before_step(self, batch):
        assert self.gate.wait(SECONDS)

    def token(self, request, count):
        return request.prefix[0] + count


def request(first, tokens=3, n=1):
    return Request([first], SamplingParams(n=n, max_new_tokens=tokens, seed=0))


async def tokens_of(ticket):
    """The tokens of each row of a ticket."""
    found = {}
    async for chunks in ticket.chunks():
        for chunk in chunks:
            found.setdefault((chunk.request, chunk.sample), []).extend(each.token_id for each in chunk.choices)
    return found


async def fault_of(ticket):
    with pytest.raises(Exception) as raised:  # noqa: PT011  # the caller looks at it
        await tokens_of(ticket)
    return raised.value


async def until(true):
    for _ in range(SECONDS * 200):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("the condition did not come true")


def run(main):
    asyncio.run(asyncio.wait_for(main(), SECONDS))
