"""One JSON line for each request: its id, route, status, times, tokens and steer. Never a prompt, a text or a key."""

import logging
from collections.abc import Mapping
from typing import Any

from trimtab.data.json_text import dump_json
from trimtab.server.call import Call
from trimtab.server.searches import SearchTicket
from trimtab.server.ticket import Ticket

LOG = logging.getLogger("trimtab.server")
SHOWN_PATH = 100  # characters


def log_request(
    request_id: str, method: str, path: str, status: int, seconds: float, about: Mapping[str, object]
) -> None:
    """Log an answered request."""
    row = {
        "request_id": request_id,
        "method": method,
        "path": path[:SHOWN_PATH],
        "status": status,
        "ms": milliseconds(seconds),
        **about,
    }
    LOG.info(dump_json(row))


def about_ticket(call: Call, ticket: Ticket | SearchTicket) -> dict[str, Any]:
    """What the log says of a generation."""
    waited = None if ticket.joined is None else ticket.joined - ticket.submitted
    first = None if ticket.first_token is None else ticket.first_token - ticket.submitted
    return {
        "id": call.id,
        "steer": repr(call.steer) if call.steer else "",
        "samples": ticket.rows,
        "prompt_tokens": call.prompt_tokens,
        "completion_tokens": ticket.tokens,
        "queued_ms": milliseconds(waited),
        "first_token_ms": milliseconds(first),
    }


def milliseconds(seconds: float | None) -> float | None:
    """Seconds as milliseconds with one decimal."""
    return None if seconds is None else round(1000 * seconds, 1)
