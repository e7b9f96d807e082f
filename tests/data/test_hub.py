import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub.utils
import pytest

from trimtab.data import hub

TREE = b'[{"type": "file", "path": "config.json", "size": 2, "oid": "0000000000000000000000000000000000000000"}]'
COMMIT = "1" * 40


class FakeHub(BaseHTTPRequestHandler):
    """One repository, good/one, with one file."""

    def do_GET(self):
        if self.path.startswith("/api/models/good/one/tree/"):
            self.answer(200, TREE)
        elif self.path.startswith("/api/models/good/one"):
            self.answer(200, b'{"id": "good/one", "sha": "' + COMMIT.encode() + b'", "siblings": []}')
        elif self.path.startswith("/good/one/resolve/"):
            self.answer(200, b"{}")
        else:
            self.answer(404, b"{}", **{"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def answer(self, status: int, body: bytes, **headers: str):
        self.send_response(status)
        for name, value in {
            "Content-Length": str(len(body)),
            "ETag": '"e"',
            "X-Repo-Commit": COMMIT,
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def online(monkeypatch, tmp_path):
    """Return a function that points huggingface_hub to an address, with an empty cache."""
    for name in hub.OFFLINE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub._Silence, "until", 0.0)

    def go(port: int) -> None:
        address = f"http://127.0.0.1:{port}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            address + "/{repo_id}/resolve/{revision}/{filename}",
        )

    yield go
    huggingface_hub.utils.close_session()


@pytest.fixture
def fake_hub(online):
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    online(server.server_port)
    yield server
    server.shutdown()
    server.server_close()


def seconds_of_failure(name: str, match: str) -> float:
    start = time.perf_counter()
    with pytest.raises(hub.HubFault, match=match):
        hub.fetch(name, ["*.json"])
    return time.perf_counter() - start


def test_a_repository_is_downloaded_and_found_again_offline(fake_hub, monkeypatch):
    folder = hub.fetch("good/one", ["*.json"])
    assert (folder / "config.json").read_text() == "{}"
    monkeypatch.setenv("TRIMTAB_OFFLINE", "1")
    assert hub.fetch("good/one", ["*.json"]) == folder


def test_a_repository_that_does_not_exist_is_named_as_such(fake_hub):
    assert seconds_of_failure("no/such", "no such repository") < 2


def test_a_hub_that_refuses_connections_fails_at_once(online):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    online(port)
    assert seconds_of_failure("good/one", f"cannot reach http://127.0.0.1:{port}") < 2


def test_a_hub_that_never_answers_is_given_up_and_not_asked_again(online, monkeypatch):
    monkeypatch.setattr(hub, "LOOK_UP_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        online(silent.getsockname()[1])
        assert seconds_of_failure("good/one", "does not answer") < 3
        assert seconds_of_failure("other/one", "does not answer") < 0.4


def test_the_limits_stay_below_ten_seconds():
    assert hub.ANSWER_SECONDS < hub.LOOK_UP_SECONDS < 9


@pytest.mark.parametrize("variable", hub.OFFLINE_VARIABLES)
def test_offline_fails_at_once_and_names_the_variable(online, monkeypatch, variable):
    monkeypatch.setenv(variable, "true")
    assert seconds_of_failure("good/one", variable) < 1


def test_offline_is_off_by_the_usual_words(monkeypatch):
    for name in hub.OFFLINE_VARIABLES:
        monkeypatch.setenv(name, "False")
    assert hub.is_offline() == ""


@pytest.mark.parametrize("name", ["", "a b", "x/y/z", "../up", "/absolute/path", "a\0b", "nul--dash", "x" * 500])
def test_a_name_that_no_repository_can_have_is_refused_without_asking(name, monkeypatch):
    monkeypatch.setattr(hub, "_look_up", lambda name: pytest.fail("the Hub was asked"))
    with pytest.raises(hub.HubFault, match="no Hub id"):
        hub.fetch(name, ["*.json"])


def test_a_near_miss_is_suggested():
    assert hub.suggestion("smolm2", ["smollm2"]) == "; did you mean 'smollm2'?"
    assert hub.suggestion("Sentimnt", ["toxicity", "sentiment"]) == "; did you mean 'sentiment'?"
    assert hub.suggestion("gpt2", ["smollm2"]) == ""


def test_a_reason_is_one_line_of_whole_words():
    reason = hub.reason_of(ValueError("word\n" * 100))
    assert "\n" not in reason
    assert set(reason.split()) == {"word", "…"}
    assert len(reason) <= hub.REASON_WIDTH
    assert hub.reason_of(KeyError()) == "KeyError"
