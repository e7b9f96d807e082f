"""`trimtab bench serve`: requests at once against the library, on a tiny model."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from trimtab.errors import InvalidSetting
from trimtab.server import load
from trimtab.server.load import measure_server
from trimtab.server.load_settings import LoadSettings

FEW = LoadSettings(reward="mood", beta=-6.0, rows=3, tokens=5, repeats=2)


def test_the_record_has_shares_and_times(chatting, shelf):
    rounds = []
    found = measure_server(chatting, shelf[0], FEW, lambda done, of: rounds.append((done, of)))
    assert rounds == [(1, 3), (2, 3), (3, 3)]
    json.dumps(found, allow_nan=False)
    for clock in ("wall", "cpu"):
        share = found["throughput"][clock]
        assert 0 < share["low"] <= share["median"] <= share["high"]
    assert 0 < found["first_token"]["median"] <= found["first_token"]["p95"]
    assert found["about"]["steer"][0]["reward"] == "mood"
    assert (found["rows"], found["tokens"]) == (3, 5)


def test_texts_that_differ_from_the_librarys_are_a_fault(chatting, shelf, monkeypatch):
    other = SimpleNamespace(steer=lambda terms: shelf[0].reward.toward(60.0))
    monkeypatch.setattr(load, "RewardShelf", lambda rewards: other)
    with pytest.raises(RuntimeError, match="are not the library's"):
        measure_server(chatting, shelf[0], FEW)


def test_a_failed_request_is_told():
    times = {"server": [], "server_cpu": []}
    clients = load.Clients(load.Asked("http://127.0.0.1:1", "w1", 2, 5, {}))  # nobody listens there
    with pytest.raises(RuntimeError, match="request of the benchmark failed"):
        clients.ask(lambda: load._timed(times, "server"))


@pytest.mark.parametrize(("rows", "queue"), [(3, 128), (512, 512)])
def test_all_requests_of_a_round_may_wait_at_once(rows, queue):
    found = load.limits_of(replace(FEW, rows=rows))
    assert (found.max_rows, found.max_queue) == (rows, queue)


@pytest.mark.parametrize("misfit", [{"rows": 1}, {"tokens": 1}, {"repeats": 0}, {"beta": 1e9}])
def test_misfits_are_refused(misfit):
    with pytest.raises(InvalidSetting, match=next(iter(misfit))):
        LoadSettings(**misfit)
