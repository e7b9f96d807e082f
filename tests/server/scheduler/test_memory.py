"""The scheduler with a scripted batch: no memory is left."""

import asyncio
import weakref

import pytest

from scheduled import SECONDS, CountingBatch, Script, fault_of, request, run, tokens_of, until
from trimtab.server.memory import release_memory


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
