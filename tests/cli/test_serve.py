"""`trimtab serve`: what it refuses before weights load, and a server from the command line."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

pytest.importorskip("fastapi")

SECONDS = 120


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--port", "70000"], "--port 70000"),
        (["--port", "-1"], "--port -1"),
        (["--host", ""], "--host ''"),
        (["--host", "192.0.2.1"], "--host"),
        (["--max-rows", "0"], "--max-rows 0"),
        (["--max-body", "0"], "--max-body 0"),
        (["--cors-origin", "example.org"], "--cors-origin"),
        (
            ["--cors-origin", "https://example.org/"],
            "--cors-origin 'https://example.org/', expected https://example.org",
        ),
        (["--engine", "vllm", "--speculate", "lookup"], "--speculate 'lookup' with engine='vllm'"),
        (["--engine", "vllm", "--prefix-cache", "2"], "--prefix-cache 2 with --engine vllm"),
        (["--batch-invariant", "--prefix-cache", "2"], "--prefix-cache 2 with --batch-invariant"),
        (["--batch-invariant", "--speculate", "lookup"], "--speculate lookup with --batch-invariant"),
        (["--reward", "=folder"], "NAME=SOURCE"),
        (["--reward", "a/b"], "NAME=SOURCE"),
        (["--reward", "nonsense"], "toxicity"),
        (["--reward", "kind=no/such/folder"], "no such folder"),
        (["--reward", "a=x", "--reward", "a=y"], "twice"),
        (["--api-key", ""], "API key"),
        (["--api-key", "two\nlines"], "API key"),
        (["--served-name", "a+b"], "--served-name"),
    ],
)
def test_misfits_are_refused_before_weights_load(trimtab, words, expected, monkeypatch):
    monkeypatch.setattr("trimtab.cli.serve.load_language_model", None)
    done = trimtab("serve", *words, check=False)
    assert done.status == 1
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_reward_of_another_tokenizer_is_refused_before_weights_load(trimtab, place, monkeypatch):
    monkeypatch.setattr("trimtab.cli.serve.load_language_model", None)
    done = trimtab("serve", "--model", place / "lm", "--reward", "sentiment", check=False)
    assert (done.status, "trained for the tokenizer" in done.stderr) == (1, True)


def test_a_port_in_use_is_named(trimtab, monkeypatch):
    monkeypatch.setattr("trimtab.cli.serve.load_language_model", None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = trimtab("serve", "--port", port, check=False)
    assert f"got --port {port}, expected a free port" in done.stderr


def test_no_second_server_binds_a_port_on_windows(monkeypatch):
    """There, SO_REUSEADDR would let it."""
    from trimtab.server.listening import sole_owner

    assert sole_owner() == socket.SO_REUSEADDR
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", -5, raising=False)
    assert sole_owner() == -5


def test_a_missing_package_is_named_with_the_command_that_installs_it(trimtab, monkeypatch):
    monkeypatch.setattr("trimtab.cli.serve.find_spec", lambda name: None)
    done = trimtab("serve", check=False)
    assert "pip install 'trimtab[server]'" in done.stderr


def test_a_key_may_come_from_the_environment(monkeypatch):
    from trimtab.cli.serve import KEY_VARIABLE, key_of

    monkeypatch.setenv(KEY_VARIABLE, "from-the-environment")
    assert key_of(None) == "from-the-environment"
    assert key_of("from-the-option") == "from-the-option"
    monkeypatch.delenv(KEY_VARIABLE)
    assert key_of(None) is None


def test_nothing_of_the_web_is_imported_for_help():
    code = (
        "import sys, trimtab; from trimtab.cli import app; print({'fastapi', 'uvicorn', 'pydantic'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "http://127.0.0.1:80/"),
        ("0.0.0.0", "http://127.0.0.1:80/"),
        ("::", "http://[::1]:80/"),
        ("::1", "http://[::1]:80/"),
        ("example.org", "http://example.org:80/"),
    ],
)
def test_the_page_has_an_address_that_a_browser_can_open(host, expected):
    from trimtab.cli.serve import address_of

    assert address_of(host, 80) == expected


def test_a_browser_opens_the_page_only_once_the_server_answers(monkeypatch):
    from trimtab.server.listening import open_page

    seen, answers = [], iter([False, False, True])
    monkeypatch.setattr("webbrowser.open", seen.append)
    monkeypatch.setattr("time.sleep", lambda seconds: seen.append("waited"))
    open_page("http://127.0.0.1:80/", lambda: next(answers))
    assert seen == ["waited", "waited", "http://127.0.0.1:80/"]


def test_idle_connections_are_kept_longer_than_clients_keep_them():
    """Else a request that is just being sent is reset; openai's client is httpx with its default."""
    import httpx

    from trimtab.server.listening import web_server

    assert web_server(None).config.timeout_keep_alive > 2 * httpx.Limits().keepalive_expiry


@pytest.mark.long
@pytest.mark.slow
def test_the_command_serves_again_after_a_kill_and_ends_by_ctrl_c(place):
    """kill −9 while a text is being written: the same command serves at the same port, and writes the same text."""
    port = free_port()
    with serving(place, port) as killed:
        before = text(port)
        with answer_of(port, stream=True, n=8, max_tokens=50) as answer:
            assert answer.readline().startswith(b"data: ")
            killed.kill()
        assert killed.wait(SECONDS) == -signal.SIGKILL
    with serving(place, port, "--demo") as server:
        assert text(port) == before
        server.send_signal(signal.SIGINT)
        _, printed = server.communicate(timeout=SECONDS)
    assert "Rewards: none" in printed  # the bundled ones are of another tokenizer
    assert f"Serving on http://127.0.0.1:{port}/v1, with a page at http://127.0.0.1:{port}/" in printed
    assert '"path": "/health"' in printed
    assert "Traceback" not in printed


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(place, port, *words):
    """The command in a process of its own, once it answers."""
    command = [sys.executable, "-m", "trimtab", "serve", "--model", str(place / "lm"), "--port", str(port), *words]
    own = {"TRIMTAB_API_KEY": "k", "BROWSER": "true"}  # a command that opens nothing
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **own})
    try:
        assert health(port, server) == b'{"status": "ok"}'
        yield server
    finally:
        server.kill()
        server.communicate()


def answer_of(port, **fields):
    asked = {"prompt": "w1 w2", "max_tokens": 10, "seed": 1, **fields}
    headers = {"Authorization": "Bearer k", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/completions", json.dumps(asked).encode(), headers)
    return urllib.request.urlopen(request, timeout=SECONDS)


def text(port):
    with answer_of(port) as answer:
        return json.load(answer)["choices"][0]["text"]


def health(port, server):
    """What /health says, as soon as there is a server."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
                return answer.read()
        except urllib.error.URLError:
            time.sleep(0.2)
    raise AssertionError("the server did not start")
