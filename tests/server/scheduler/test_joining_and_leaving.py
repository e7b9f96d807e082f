"""The scheduler with a scripted batch: joining, leaving, a full queue, and the end."""

import asyncio

import pytest

from scheduled import ENGINE, fault_of, request, run, tokens_of, until
from trimtab.server.api_errors import APIError
from trimtab.server.metrics import Metrics
from trimtab.server.scheduler import Scheduler


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
