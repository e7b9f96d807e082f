"""The socket of a server, bound before weights load, and the server that runs on it."""

import errno
import logging
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from trimtab.errors import InvalidSetting

if TYPE_CHECKING:
    import uvicorn

IN_USE = (errno.EADDRINUSE, errno.EACCES)
GRACE_SECONDS = 5
KEEP_ALIVE_SECONDS = 75  # httpx, and so openai's client, closes idle connections after 5 s; see web_server
POLL_SECONDS = 0.05


def bind(host: str, port: int) -> socket.socket:
    """A socket on an address.

    Raises:
        InvalidSetting: the port is taken, or the address is none of this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return _bound(family, address)
    except UnicodeError as error:
        raise InvalidSetting(f"got host={host!r}, expected an address of this machine: {error}") from error
    except OSError as error:
        if error.errno in IN_USE:
            raise InvalidSetting(f"got port={port}, expected a free port: {error.strerror}") from error
        raise InvalidSetting(f"got host={host!r}, expected an address of this machine: {error.strerror}") from error


def _bound(family: int, address: Any) -> socket.socket:
    """A socket on an address; it is closed if the address cannot be had."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, sole_owner(), 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def sole_owner() -> int:
    """The option of a socket whose port no other server can bind, and which may have been in use a moment ago."""
    if sys.platform == "win32":
        return socket.SO_EXCLUSIVEADDRUSE  # there, SO_REUSEADDR lets two servers bind one port
    return socket.SO_REUSEADDR


def log_to_stderr() -> None:
    """Send the server's log, one line for each request, to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log = logging.getLogger("trimtab.server")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def serve_on(listener: socket.socket, app: Any, page: str | None = None) -> None:
    """Serve an application until Ctrl-C.

    Args:
        listener: a bound socket.
        app: the application.
        page: an address that a browser opens once the server answers; None for none.
    """
    server = web_server(app)
    if page is not None:
        threading.Thread(target=open_page, args=(page, lambda: server.started), daemon=True).start()
    server.run(sockets=[listener])


def web_server(app: Any) -> "uvicorn.Server":
    """The server of an application.

    If it closed idle connections as soon as clients do, a request that is just being sent would be reset.
    """
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        ws="none",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return uvicorn.Server(config)


@contextmanager
def running(app: Any) -> Iterator[str]:
    """Serve an application from a thread, on a free port of this machine; yields the address."""
    listener, server = bind("127.0.0.1", 0), web_server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(POLL_SECONDS)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def open_page(address: str, started: Callable[[], bool]) -> None:
    """Open an address in a browser once a server has started. Where there is no browser, nothing happens."""
    while not started():
        time.sleep(POLL_SECONDS)
    webbrowser.open(address)
