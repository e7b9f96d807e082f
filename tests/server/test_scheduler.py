"""The scheduler with a scripted batch: joining, leaving, a full queue, no memory, bugs, and the end."""

import asyncio
import threading
import weakref
from dataclasses import replace

import pytest
import torch

from trimtab.engines.base import Choice, Chunk, Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.errors import InvalidPrompt, NonFiniteLogits
from trimtab.server import scheduler as module
from trimtab.server.api_errors import APIError
from trimtab.server.memory import release_memory
from trimtab.server.metrics import Metrics
from trimtab.server.scheduler import Scheduler
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


@pytest.fixture
def script(monkeypatch):
    script = Script()
    monkeypatch.setattr(module, "start_batch", lambda engine: CountingBatch(script))
    return script


@pytest.fixture
def scheduler(script):
    scheduler = Scheduler(ENGINE, max_rows=4, max_queue=2, metrics=Metrics())
    scheduler.start()
    yield scheduler
    script.gate.set()
    scheduler.stop()
    assert not scheduler.alive


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


def test_each_ticket_gets_its_own_tokens(scheduler):
    async def main():
        tickets = [scheduler.submit([request(10), request(20, n=2)]), scheduler.submit([request(30, tokens=5)])]
        first, second = await asyncio.gather(*map(tokens_of, tickets))
        assert first == {(0, 0): [10, 11, 12], (1, 0): [20, 21, 22], (1, 1): [20, 21, 22]}
        assert second == {(0, 0): [30, 31, 32, 33, 34]}
        assert (tickets[0].tokens, tickets[1].tokens) == (9, 5)

    run(main)
    assert scheduler.rows == scheduler.queued == 0


def test_requests_that_wait_join_together_within_the_limit_of_rows(scheduler, script):
    script.gate.clear()

    async def main():
        running = scheduler.submit([request(10, n=4)])
        await until(lambda: scheduler.rows == 4)
        waiting = [scheduler.submit([request(20)]), scheduler.submit([request(30)])]
        assert scheduler.queued == 2
        script.gate.set()
        await asyncio.gather(*map(tokens_of, [running, *waiting]))

    run(main)
    assert script.groups == [1, 2]


def test_a_full_queue_is_a_429_that_says_when_to_come_back(scheduler, script):
    script.gate.clear()

    async def main():
        tickets = [scheduler.submit([request(10, n=4)])]
        await until(lambda: scheduler.rows == 4)
        tickets += [scheduler.submit([request(20)]), scheduler.submit([request(30)])]
        with pytest.raises(APIError) as raised:
            scheduler.submit([request(40)])
        assert (raised.value.status, raised.value.headers["Retry-After"]) == (429, "1")
        script.gate.set()
        await asyncio.gather(*map(tokens_of, tickets))

    run(main)


def test_a_cancelled_request_leaves_within_a_step(scheduler, script):
    async def main():
        ticket = scheduler.submit([request(10, tokens=10**8)])
        await until(lambda: ticket.tokens > 0)
        before = script.steps
        ticket.cancel()
        await until(lambda: scheduler.rows == 0)
        assert script.batches[0].rows == {}
        assert await tokens_of(ticket)  # ends, with what came before
        return before

    run(main)


def test_a_request_that_waits_can_be_cancelled(scheduler, script):
    script.gate.clear()

    async def main():
        running = scheduler.submit([request(10, n=4)])
        await until(lambda: scheduler.rows == 4)
        waiting = scheduler.submit([request(20)])
        waiting.cancel()
        assert scheduler.queued == 0
        script.gate.set()
        await tokens_of(running)

    run(main)
    assert script.groups == [1]


def test_without_memory_the_newest_request_ends_and_the_others_are_written_on(scheduler, script):
    script.gate.clear()

    async def main():
        old = scheduler.submit([request(10, tokens=6, n=2)])
        await until(lambda: scheduler.rows == 2)
        new = scheduler.submit([request(20, tokens=6)])
        failed = []

        def no_memory(batch):
            if any(count >= 3 for _, written in batch.rows.values() for count in written) and not failed:
                failed.append(True)
                raise MemoryError

        script.before_step = no_memory
        script.gate.set()
        written, fault = await asyncio.gather(tokens_of(old), fault_of(new))
        assert written == {(0, 0): list(range(10, 16)), (0, 1): list(range(10, 16))}
        assert (fault.status, fault.code) == (503, "out_of_memory")
        assert await tokens_of(scheduler.submit([request(30)])) == {(0, 0): [30, 31, 32]}
        assert old.tokens == 12

    run(main)
    assert [batch.closed for batch in script.batches] == [1, 0]  # no row of the old batch is written on


def test_nothing_of_the_old_batch_is_left_when_its_requests_start_again(scheduler, script):
    """Its caches fill the memory; the traceback of the step that failed holds them, too."""
    caches, alive = [], []

    def no_memory(batch):
        assert script.gate.wait(SECONDS)
        if len(batch.rows) == 2 and not caches:
            caches.append(weakref.ref(batch))
            script.batches.clear()
            raise MemoryError

    script.before_step = no_memory
    script.before_add = lambda request: alive.extend(cache() is not None for cache in caches)
    script.gate.clear()

    async def main():
        old = scheduler.submit([request(10)])
        await until(lambda: scheduler.rows == 1)
        new = scheduler.submit([request(20)])
        script.gate.set()
        written, fault = await asyncio.gather(tokens_of(old), fault_of(new))
        assert (written, fault.status) == ({(0, 0): [10, 11, 12]}, 503)

    run(main)
    assert alive == [False]


def test_the_errors_that_an_error_came_from_are_emptied_too():
    held = []

    def inner():
        cache = CountingBatch(Script())
        cache.script.batches.clear()
        held.append(weakref.ref(cache))
        raise MemoryError

    def outer():
        try:
            inner()
        except MemoryError as error:
            raise RuntimeError("out of memory") from error

    with pytest.raises(RuntimeError) as raised:
        outer()
    assert held[0]() is not None
    release_memory(raised.value)
    assert held[0]() is None


def test_only_what_is_unfinished_starts_again(scheduler, script):
    """Finished prompts of a request have no row, so writing them again would exceed the limit of rows."""
    failed = []

    def no_memory(batch):
        assert script.gate.wait(SECONDS)
        if any(count >= 3 for _, written in batch.rows.values() for count in written) and not failed:
            failed.append(True)
            raise MemoryError

    script.before_step = no_memory
    script.gate.clear()

    async def main():
        old = scheduler.submit([request(10, tokens=1), request(20, tokens=6), request(30, tokens=2)])
        await until(lambda: scheduler.rows == 3)
        new = scheduler.submit([request(40, tokens=6)])
        script.gate.set()
        written, fault = await asyncio.gather(tokens_of(old), fault_of(new))
        assert written == {(0, 0): [10], (1, 0): list(range(20, 26)), (2, 0): [30, 31]}
        assert fault.status == 503

    run(main)
    assert [batch.added for batch in script.batches] == [4, 1]


def test_a_request_that_does_not_fit_beside_the_others_is_a_503(scheduler, script):
    def before_add(request):
        if request.prefix[0] == 20:
            raise RuntimeError("CUDA out of memory. Tried to allocate")

    script.before_add = before_add
    script.gate.clear()

    async def main():
        old = scheduler.submit([request(10)])
        await until(lambda: scheduler.rows == 1)
        new = scheduler.submit([request(20)])
        script.gate.set()
        written, fault = await asyncio.gather(tokens_of(old), fault_of(new))
        assert written == {(0, 0): [10, 11, 12]}
        assert fault.status == 503

    run(main)


def test_a_text_that_comes_out_differently_the_second_time_is_a_503(scheduler, script):
    """In bfloat16, another batch may round differently: no client gets half of each text."""
    again = []

    def before_step(batch):
        assert script.gate.wait(SECONDS)  # both are there
        if not again and any(count == 2 for _, written in batch.rows.values() for count in written):
            again.append(True)
            raise MemoryError

    script.before_step = before_step
    script.token = lambda request, count: request.prefix[0] + count + (100 if again else 0)

    async def main():
        script.gate.clear()
        tickets = [scheduler.submit([request(10, tokens=5)]), scheduler.submit([request(20, tokens=5)])]
        script.gate.set()
        faults = await asyncio.gather(*map(fault_of, tickets))
        assert [fault.status for fault in faults] == [503, 503]

    run(main)


def test_a_refused_prompt_harms_no_other(scheduler, script):
    def before_add(request):
        if request.prefix[0] == 20:
            raise InvalidPrompt("got 20, expected another prompt")

    script.before_add = before_add
    script.gate.clear()

    async def main():
        first = scheduler.submit([request(10, n=4)])
        await until(lambda: scheduler.rows == 4)
        tickets = [scheduler.submit([request(20)]), scheduler.submit([request(30)])]
        script.gate.set()
        fault, written, _ = await asyncio.gather(fault_of(tickets[0]), tokens_of(tickets[1]), tokens_of(first))
        assert isinstance(fault, InvalidPrompt)
        assert written == {(0, 0): [30, 31, 32]}

    run(main)


def test_a_refused_prompt_ends_the_other_prompts_of_its_request(scheduler, script):
    def before_add(request):
        if request.prefix[0] == 20:
            raise InvalidPrompt("got 20, expected another prompt")

    script.before_add = before_add

    async def main():
        asked = [request(10, tokens=10**8), request(20), request(30, tokens=10**8)]
        assert isinstance(await fault_of(scheduler.submit(asked)), InvalidPrompt)
        await until(lambda: scheduler.rows == 0)
        assert await tokens_of(scheduler.submit([request(40)])) == {(0, 0): [40, 41, 42]}

    run(main)
    assert script.batches[0].rows == {}


def test_a_client_is_told_of_a_fault_though_its_rows_cannot_be_dropped(scheduler, script, monkeypatch):
    write = CountingBatch._write

    def faulty(self, number):
        chunks = write(self, number)
        bad = chunks[0].choices[0].token_id == 11
        return [replace(each, fault=NonFiniteLogits("got NaN"), choices=()) for each in chunks] if bad else chunks

    def bug():
        script.before_cancel = lambda: None
        raise KeyError("bug")

    monkeypatch.setattr(CountingBatch, "_write", faulty)
    script.before_cancel = bug

    async def main():
        assert isinstance(await fault_of(scheduler.submit([request(10)])), NonFiniteLogits)
        assert await tokens_of(scheduler.submit([request(30)])) == {(0, 0): [30, 31, 32]}

    run(main)


def test_a_fault_of_one_row_ends_its_request_alone(scheduler, script, monkeypatch):
    write = CountingBatch._write

    def faulty(self, number):
        chunks = write(self, number)
        bad = self.rows.get(number, [request(0)])[0].prefix[0] == 20
        return [replace(each, fault=NonFiniteLogits("got NaN"), choices=()) for each in chunks] if bad else chunks

    monkeypatch.setattr(CountingBatch, "_write", faulty)

    async def main():
        tickets = [scheduler.submit([request(20)]), scheduler.submit([request(30)])]
        fault, written = await asyncio.gather(fault_of(tickets[0]), tokens_of(tickets[1]))
        assert isinstance(fault, NonFiniteLogits)
        assert written == {(0, 0): [30, 31, 32]}

    run(main)
    assert scheduler.rows == 0


def test_a_bug_in_a_step_is_a_500_and_the_server_lives(scheduler, script):
    failed = []

    def bug(batch):
        if not failed:
            failed.append(True)
            raise KeyError("bug")

    script.before_step = bug

    async def main():
        fault = await fault_of(scheduler.submit([request(10)]))
        assert fault.status == 500
        assert await tokens_of(scheduler.submit([request(30)])) == {(0, 0): [30, 31, 32]}

    run(main)
    assert scheduler.alive


def test_where_nothing_can_be_mended_no_client_waits(scheduler, script, monkeypatch):
    """The device is broken, so that a step fails, and its memory cannot be returned either."""

    def broken(*args):
        raise RuntimeError("an illegal memory access was encountered")

    script.before_step = broken
    monkeypatch.setattr("trimtab.server.scheduler.release_memory", broken)

    async def main():
        faults = [
            await fault_of(ticket) for ticket in [scheduler.submit([request(10)]), scheduler.submit([request(20)])]
        ]
        assert all(fault.status in (500, 503) for fault in faults)
        await until(lambda: not scheduler.alive)
        with pytest.raises(APIError, match="stopping"):
            scheduler.submit([request(30)])

    run(main)


def test_where_nothing_can_be_mended_running_clients_are_told_too(scheduler, script, monkeypatch):
    def broken(*args):
        raise RuntimeError("an illegal memory access was encountered")

    async def main():
        first = scheduler.submit([request(10, tokens=10**8)])
        await until(lambda: first.tokens > 0)
        script.before_add = broken
        monkeypatch.setattr("trimtab.server.scheduler.release_memory", broken)
        second = scheduler.submit([request(20)])
        assert [(await fault_of(ticket)).status for ticket in (second, first)] == [500, 503]

    run(main)


def test_an_engine_that_cannot_drop_its_rows_does_not_end_the_server(scheduler, script):
    def bug(*args):
        script.before_step = lambda batch: None
        raise KeyError("bug")

    script.before_step = script.before_close = bug

    async def main():
        assert (await fault_of(scheduler.submit([request(10)]))).status == 500
        assert await tokens_of(scheduler.submit([request(30)])) == {(0, 0): [30, 31, 32]}

    run(main)
    assert scheduler.alive


def test_the_end_of_the_server_is_told_to_every_client(script):
    scheduler = Scheduler(ENGINE, max_rows=1, max_queue=2, metrics=Metrics())
    scheduler.start()

    async def main():
        tickets = [scheduler.submit([request(10, tokens=10**8)]), scheduler.submit([request(20)])]
        await until(lambda: tickets[0].tokens > 0)
        await asyncio.to_thread(scheduler.stop)
        faults = [await fault_of(ticket) for ticket in tickets]
        assert [fault.code for fault in faults] == ["stopping", "stopping"]
        with pytest.raises(APIError, match="stopping"):
            scheduler.submit([request(30)])

    run(main)
    assert script.batches[-1].closed == 1
