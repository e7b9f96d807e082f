"""Settings of a server. No torch and no web framework here, so that the command line starts fast."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, final
from urllib.parse import urlsplit

from trimtab.checking import checked, shown
from trimtab.errors import InvalidSetting

LOCAL = ("127.0.0.1", "localhost", "::1")
MAX_PORT = 65_535
MAX_LIMIT = 10**9
MAX_GIGABYTES = 10**4
PORTS = {"http": 80, "https": 443}
HOST = re.compile(r"[\w.-]+|[\da-f:.]+:[\da-f:.]+", re.ASCII)
COUNTS = ("max_rows", "max_queue", "max_tokens", "max_body", "max_searches")


@final
@checked
@dataclass(frozen=True)
class ServerSettings:
    """Where a server listens, and its limits.

    Raises:
        InvalidSetting: a value is out of range, or of another type.
    """

    host: Annotated[str, "Address to listen on; 0.0.0.0 lets other machines connect."] = "127.0.0.1"
    port: Annotated[int, "Port to listen on."] = 8000
    max_rows: Annotated[int, "Texts that are written together; each sample of each prompt is one."] = 32
    max_queue: Annotated[int, "Requests that may wait for a row; further ones get status 429."] = 128
    max_tokens: Annotated[int, "Most new tokens that a request may ask for."] = 1024
    max_body: Annotated[int, "Most bytes of a request's body."] = 1_048_576
    max_searches: Annotated[int, "Rewind searches that run or wait; further ones get status 429."] = 4
    prefix_cache: Annotated[
        float,
        "Gigabytes of keys and values kept of the model, and of each reward's layers, for later prompts that "
        "begin alike, as the turns of a chat do. 0 keeps none.",
    ] = 1.0
    speculate: Annotated[
        Sequence[str],
        "Let requests ask for drafts of this kind: lookup or draft. Repeat for both. Such requests do not share a "
        "batch with the others.",
    ] = ()
    cors_origin: Annotated[
        Sequence[str], "Let pages of this origin call the server, as https://example.org. Repeat for several."
    ] = ()

    def __post_init__(self) -> None:
        if not self.host:
            raise InvalidSetting("got host='', expected an address, such as 127.0.0.1")
        if not 0 <= self.port <= MAX_PORT:
            raise InvalidSetting(f"got port={shown(self.port)}, expected 1 to {MAX_PORT}, or 0 for any free port")
        for name in COUNTS:
            if not 1 <= getattr(self, name) <= MAX_LIMIT:
                raise InvalidSetting(f"got {name}={shown(getattr(self, name))}, expected 1 to {MAX_LIMIT}")
        if not 0 <= self.prefix_cache <= MAX_GIGABYTES:
            raise InvalidSetting(
                f"got prefix_cache={shown(self.prefix_cache)}, expected 0 to {MAX_GIGABYTES} gigabytes"
            )
        for origin in self.cors_origin:
            check_origin(origin)

    @property
    def own_names(self) -> frozenset[str]:
        """The names of a server that only this machine reaches, and of the sites that may call it; empty for others.

        A page of another site has its own name in each request, also if that name leads to this machine (DNS
        rebinding).
        """
        if self.host not in LOCAL:
            return frozenset()
        return frozenset({*LOCAL, *(urlsplit(origin).hostname or "" for origin in self.cors_origin)})


def check_origin(text: str) -> None:
    """Refuse an origin that is not written as browsers send it: nothing would match it.

    Raises:
        InvalidSetting: the message has the origin that it may mean.
    """
    expected = origin_of(text)
    if text != expected:
        expected = expected or "an origin, such as https://example.org"
        raise InvalidSetting(f"got cors_origin={shown(text)}, expected {expected}")


def origin_of(address: str) -> str | None:
    """The origin of an address as browsers send it: scheme://host, and a port that is not the usual one."""
    with suppress(ValueError):
        parts = urlsplit(address)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port
        if scheme in PORTS and HOST.fullmatch(host):
            name = f"[{host}]" if ":" in host else host
            return f"{scheme}://{name}" + (f":{port}" if port not in (None, PORTS[scheme]) else "")
    return None
