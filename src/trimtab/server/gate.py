"""What every request passes first: a request id, the API key, the limit of bytes, the log and the counter."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any, final

from starlette.exceptions import HTTPException

from trimtab.checking import shown
from trimtab.server.api_errors import CLIENT_LEFT, APIError, as_api_error
from trimtab.server.http import error_response
from trimtab.server.logs import LOG, log_request
from trimtab.server.metrics import Metrics
from trimtab.server.page_files import PAGE_FOLDER

LENGTH_DIGITS = 20  # of a header that says how long a body is; that many are beyond any limit
MODELS = "/v1/models"
ONE_MODEL = f"{MODELS}/{{model}}"
ROUTES = ("/", "/v1/completions", "/v1/chat/completions", MODELS, ONE_MODEL, "/v1/rewards", "/health", "/metrics")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@final
class Gate:
    """ASGI middleware.

    Args:
        app: what stands behind it.
        api_key: guards every route but /health and the page's files; None for no key.
        max_body: bytes.
        metrics: counts responses.
        hosts: the names under which requests may come; empty for any.
    """

    def __init__(
        self, app: App, api_key: str | None, max_body: int, metrics: Metrics, hosts: Collection[str] = frozenset()
    ):
        self._app, self._max_body, self._metrics, self._hosts = app, max_body, metrics, hosts
        self._key = None if api_key is None else digest(api_key)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, answer = time.perf_counter(), Answer(send, secrets.token_hex(8))
        about: dict[str, Any] = {}
        scope.setdefault("state", {})["about"] = about
        try:
            self._check(scope)
            await self._app(scope, self._limited(receive), answer.send)
        except Exception as error:
            told = as_api_error(error)
            if told.status == 500:
                LOG.error("request %s failed", answer.id, exc_info=error)
            if not answer.started:
                await error_response(told)(scope, receive, answer.send)
        finally:
            self._metrics.answered(route_of(scope["path"]), answer.status)
            log_request(answer.id, scope["method"], scope["path"], answer.status, time.perf_counter() - started, about)

    def _check(self, scope: Scope) -> None:
        """Check the host, the key and the announced size.

        Raises:
            APIError: 401, 403 or 413.
        """
        headers = dict(scope["headers"])
        if self._hosts and (host := host_of(headers.get(b"host", b""))) not in self._hosts:
            raise APIError(
                403,
                f"got the host {shown(host)}, expected {' or '.join(sorted(self._hosts))}: without --api-key, pages of "
                "other sites could reach this server under names of their own",
                code="unknown_host",
            )
        if self._key is not None and not is_open(scope["path"]):
            scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
            if not hmac.compare_digest(digest(key), self._key) or scheme.lower() != b"bearer":
                raise APIError(
                    401,
                    "got no API key or a wrong one, expected the header 'Authorization: Bearer KEY'",
                    code="invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )
        length = headers.get(b"content-length", b"0")[:LENGTH_DIGITS]
        if length.isdigit() and int(length) > self._max_body:
            raise APIError(413, f"got a larger body, expected at most {self._max_body} bytes", code="body_too_large")

    def _limited(self, receive: Receive) -> Receive:
        read = 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_body:
                raise HTTPException(413, f"got a larger body, expected at most {self._max_body} bytes")
            return message

        return limited


@final
class Answer:
    """The response on its way out: adds the request id, and remembers the status."""

    def __init__(self, send: Send, request_id: str):
        self._send, self.id = send, request_id
        self.status, self.started = CLIENT_LEFT, False

    async def send(self, message: Message) -> None:
        """Pass on a part of the response."""
        if message["type"] == "http.response.start":
            self.status, self.started = message["status"], True
            message = {**message, "headers": [*message["headers"], (b"x-request-id", self.id.encode())]}
        await self._send(message)


def host_of(header: bytes) -> str:
    """The name in a Host header, without its port."""
    name = header.decode("latin-1").lower()
    return name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]


def route_of(path: str) -> str:
    """The route of a path, for the counter; "other" for no route."""
    if path.startswith(f"{MODELS}/"):
        return ONE_MODEL
    return path if path in ROUTES else "other"


def is_open(path: str) -> bool:
    """Whether a path needs no key: the health, and the page, which has no data and asks for the key itself."""
    return path in ("/health", "/") or path.startswith(PAGE_FOLDER)


def digest(key: str | bytes) -> bytes:
    """A hash of a key, so that comparing two takes the same time whatever their lengths."""
    return hashlib.sha256(key.encode() if isinstance(key, str) else key).digest()
