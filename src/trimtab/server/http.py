"""HTTP around the handlers: JSON bodies, server-sent events, and a watch on clients that leave."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from trimtab.data.json_text import dump_json
from trimtab.server.api_errors import APIError, as_api_error
from trimtab.server.logs import LOG

BUG = 500
DONE = "data: [DONE]\n\n"
LINE_ENDS = {code: f"\\u{code:04x}" for code in (0x85, 0x2028, 0x2029)}  # some clients split lines at these, too
NO_BUFFERING = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A response with JSON, in which no number is NaN."""
    return Response(dump_json(value), status, dict(headers or {}), "application/json")


def error_response(error: APIError) -> Response:
    """An error as a response."""
    return json_response(error.body(), error.status, error.headers)


def event_text(value: Any) -> str:
    """One server-sent event."""
    return f"data: {dump_json(value).translate(LINE_ENDS)}\n\n"


def event_stream(events: AsyncIterator[Any], prompt_field: str) -> Response:
    """A response that sends events; a fault becomes an event with an error, and the stream ends.

    Args:
        events: values for JSON.
        prompt_field: the name of the request's field with the prompt, which faults of the prompt name.
    """

    async def lines() -> AsyncIterator[str]:
        try:
            async for event in events:
                yield event_text(event)
        except Exception as error:
            told = as_api_error(error, prompt_field)
            if told.status == BUG and not isinstance(error, APIError):
                LOG.error("a stream failed", exc_info=error)
            yield event_text(told.body())
        yield DONE

    return StreamingResponse(lines(), media_type="text/event-stream", headers=NO_BUFFERING)


async def watch(request: Request, leave: Callable[[], None]) -> None:
    """Wait until the client leaves, then call a function."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    leave()
