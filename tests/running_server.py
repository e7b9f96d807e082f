"""A server on a free port, in a thread of the test that ends it."""

import contextlib
import socket
import threading
import time

import uvicorn

STARTUP_SECONDS = 60
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
