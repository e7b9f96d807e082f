"""Servers on free ports, over an engine without a model and over a tiny random one."""

import contextlib
import importlib.util
import socket
import threading
import time

import httpx
import pytest

if importlib.util.find_spec("fastapi") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    import uvicorn

    from tiny import tiny_reward
    from tiny_chat import chat_lm
    from trimtab.engines.torch.engine import TorchEngine
    from trimtab.language_model import LanguageModel
    from trimtab.server.app import create_app
    from trimtab.server.reward_shelf import RegisteredReward
    from trimtab.server.server_settings import ServerSettings

STARTUP_SECONDS = 20
KEY = "open-sesame"


@contextlib.contextmanager
def running(app):
    """Serve an application from a thread; yields its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        until = time.monotonic() + STARTUP_SECONDS
        while not server.started:
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(STARTUP_SECONDS)
            assert not thread.is_alive(), "the server did not end"


def wait_until(true, seconds=10.0):
    """Wait for a condition, for a bounded time."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "the condition did not come true"
        time.sleep(0.005)


@pytest.fixture(scope="session")
def chatting():
    """A tiny random model with a chat template."""
    return LanguageModel(TorchEngine(chat_lm()))


@pytest.fixture(scope="session")
def shelf(chatting):
    """Two registered rewards of different methods."""
    arm, rad = tiny_reward(chatting.base, "q", seed=1), tiny_reward(chatting.base, "v", seed=2)
    return [RegisteredReward.of("mood", arm), RegisteredReward.of("mood-rad", rad)]


@pytest.fixture(scope="session")
def app(chatting, shelf):
    """An application over the tiny model."""
    return create_app(chatting, "tiny", shelf, ServerSettings(max_rows=16, max_tokens=40))


@pytest.fixture(scope="session")
def address(app):
    """The address of a server over the tiny model."""
    with running(app) as url:
        yield url


@pytest.fixture(scope="session")
def http(address):
    """An HTTP client of that server."""
    with httpx.Client(base_url=address, timeout=30) as client:
        yield client
