"""What the OpenAPI document says of responses: errors in OpenAI's shape, streams, and counters as text."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class ErrorDetail(BaseModel):
    """What went wrong, and where."""

    model_config = ConfigDict(extra="forbid")

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(BaseModel):
    """The body of every response with a status of 400 or more."""

    model_config = ConfigDict(extra="forbid")

    error: ErrorDetail


Documented = dict[int | str, dict[str, Any]]

ERRORS: Documented = {
    "4XX": {"model": ErrorResponse, "description": "The request is refused; `param` names the field."},
    "5XX": {"model": ErrorResponse, "description": "The server cannot answer."},
}
STREAM: Documented = {
    200: {"description": "The texts; a stream of events if asked for.", "content": {"text/event-stream": {}}}
}
COUNTERS: Documented = {200: {"description": "Counters.", "content": {"text/plain": {}}}}
