"""The field `speculate`: drafts that the server allows change no text; others are refused."""

import httpx
import pytest

from draft_heads import tiny_draft
from running_server import running
from trimtab.engines.torch.draft_head import HeadProposer
from trimtab.engines.torch.engine import TorchEngine
from trimtab.language_model import LanguageModel
from trimtab.server.app import create_app
from trimtab.server.server_settings import ServerSettings

ASKED = {"prompt": "w1 w2 w1 w2", "seed": 3, "max_tokens": 16, "n": 2, "steer": {"mood": 4.0}}


@pytest.fixture(scope="module")
def drafting(chatting, shelf):
    """A client of a server that lets requests draft."""
    base = chatting.base
    lm = LanguageModel(TorchEngine(base, proposers={"draft": HeadProposer(tiny_draft(base), base)}))
    settings = ServerSettings(max_rows=16, max_tokens=40, speculate=("lookup", "draft"))
    with running(create_app(lm, "tiny", shelf, settings)) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


@pytest.mark.parametrize("kind", ["lookup", "draft"])
def test_drafts_change_no_text(drafting, http, kind, eager):
    plain = http.post("/v1/completions", json=ASKED).json()
    found = drafting.post("/v1/completions", json={**ASKED, "speculate": kind})
    assert found.status_code == 200, found.text
    assert [each["text"] for each in found.json()["choices"]] == [each["text"] for each in plain["choices"]]
    assert found.json()["trimtab"]["provenance"]["sampling"]["speculate"] == kind


def test_a_stream_that_drafts_has_the_same_text(drafting, http, eager):
    plain = http.post("/v1/completions", json={**ASKED, "n": 1}).json()["choices"][0]["text"]
    with drafting.stream(
        "POST", "/v1/completions", json={**ASKED, "n": 1, "stream": True, "speculate": "draft"}
    ) as got:
        events = [line.removeprefix("data: ") for line in got.iter_lines() if line.startswith("data: {")]
    assert "".join(httpx.Response(200, text=each).json()["choices"][0]["text"] for each in events) == plain


def test_a_search_drafts(drafting, http, eager):
    asked = {"prompt": "w1 w2", "seed": 3, "max_tokens": 4, "rewind": {"judge_rewards": {"mood": 1}, "iterations": 3}}
    plain = http.post("/v1/completions", json=asked).json()["choices"]
    assert drafting.post("/v1/completions", json={**asked, "speculate": "lookup"}).json()["choices"] == plain


@pytest.mark.parametrize("kind", ["lookup", "draft", "magic"])
def test_a_server_that_drafts_nothing_refuses_the_field(http, kind):
    done = http.post("/v1/completions", json={**ASKED, "speculate": kind})
    assert done.status_code == 400
    assert done.json()["error"]["param"] == "speculate"
    assert "this server drafts nothing" in done.json()["error"]["message"]


def test_other_drafts_than_those_allowed_are_refused(drafting):
    done = drafting.post("/v1/completions", json={**ASKED, "speculate": "magic"})
    assert (done.status_code, done.json()["error"]["param"]) == (400, "speculate")
    assert "expected lookup or draft" in done.json()["error"]["message"]
