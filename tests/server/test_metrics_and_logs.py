"""What a server counts and logs: times, tokens and steers; never a prompt, a text or a key."""

import json
import logging
import re

import httpx
import pytest

from running_server import KEY, running
from trimtab.server.app import create_app

AUTHORIZED = {"Authorization": f"Bearer {KEY}"}


def value_of(text, name):
    (found,) = re.findall(rf"^{re.escape(name)} (\S+)$", text, flags=re.M)
    return float(found)


@pytest.fixture(scope="module")
def counted(chatting, shelf):
    """A client of a server of its own, which has a key."""
    app = create_app(chatting, "tiny", shelf, api_key=KEY)
    with running(app) as url, httpx.Client(base_url=url, timeout=30, headers=AUTHORIZED) as client:
        yield client


def test_metrics_count_requests_tokens_and_times(counted):
    usage = counted.post("/v1/completions", json={"prompt": "w1 w2", "max_tokens": 4, "seed": 1}).json()["usage"]
    counted.post("/v1/completions", json={"prompt": 7})
    counted.get("/some/where")
    text = counted.get("/metrics").text
    assert value_of(text, 'trimtab_requests_total{route="/v1/completions",status="200"}') == 1
    assert value_of(text, 'trimtab_requests_total{route="/v1/completions",status="400"}') == 1
    assert value_of(text, 'trimtab_requests_total{route="other",status="404"}') == 1
    assert value_of(text, 'trimtab_tokens_total{kind="prompt"}') == usage["prompt_tokens"]
    assert value_of(text, 'trimtab_tokens_total{kind="completion"}') == usage["completion_tokens"]
    assert value_of(text, "trimtab_time_to_first_token_seconds_count") == 1
    assert value_of(text, "trimtab_time_per_token_seconds_count") == 1
    assert value_of(text, "trimtab_rows") == value_of(text, "trimtab_queue_length") == 0


def test_a_log_line_has_times_and_steer_and_no_secret(counted, caplog):
    secret = "w41 w42 w43"
    with caplog.at_level(logging.INFO, "trimtab.server"):
        done = counted.post("/v1/completions", json={"prompt": secret, "steer": {"mood": -3}, "user": "Ann", "seed": 1})
    (record,) = [each for each in caplog.records if each.name == "trimtab.server"]
    row = json.loads(record.getMessage())
    assert row["request_id"] == done.headers["x-request-id"]
    assert (row["status"], row["path"], row["steer"]) == (200, "/v1/completions", "mood:kind=-3")
    assert 0 <= row["queued_ms"] <= row["first_token_ms"] <= row["ms"]
    assert row["completion_tokens"] == done.json()["usage"]["completion_tokens"]
    text = done.json()["choices"][0]["text"].strip()
    for hidden in (secret, KEY, "Ann", text):
        assert hidden not in record.getMessage()
