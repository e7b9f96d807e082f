"""The scheduler with a scripted batch: refused prompts, faults of rows, and bugs."""

import asyncio
from dataclasses import replace

import pytest

from scheduled import CountingBatch, fault_of, request, run, tokens_of, until
from trimtab.errors import InvalidPrompt, NonFiniteLogits
from trimtab.server.api_errors import APIError


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
