"""A scheduler whose batches are scripted."""

import pytest

from scheduled import ENGINE, CountingBatch, Script
from trimtab.server import scheduler as module
from trimtab.server.metrics import Metrics
from trimtab.server.scheduler import Scheduler


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
