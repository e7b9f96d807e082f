"""Errors in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`, with a status."""

import re
from collections.abc import Mapping
from typing import Any

from trimtab.checking import shown
from trimtab.errors import (
    InvalidPrompt,
    InvalidSetting,
    TrimtabError,
    UnsupportedByEngine,
    UnsupportedModel,
    out_of_memory,
)

CLIENT_LEFT = 499
RETRY_AFTER = 1  # seconds
SETTING = re.compile(r"got (\w+)=")  # how messages about a setting start
TYPES = {401: "authentication_error", 429: "rate_limit_error"}


class APIError(Exception):
    """A fault that a client is told.

    Attributes:
        status: of the response.
        message: what was got, what was expected, what to do.
        param: the field that it is about; None for none.
        code: a word for programs.
        headers: further headers of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ):
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The error, ready for JSON."""
        kind = TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def other_model(name: str, expected: str) -> APIError:
    """The error for a model that the server does not have."""
    return APIError(404, f"got the model {shown(name)}, expected {expected}", "model", "model_not_found")


def client_left() -> APIError:
    """What stands in the log and in the metrics for a client that left; 499 is nginx's number for it."""
    return APIError(CLIENT_LEFT, "the client left before the answer was written", code="client_left")


def queue_full(waiting: int) -> APIError:
    """The error for a request that finds no place in the queue."""
    return APIError(
        429,
        f"got a request while {waiting} wait, which is the limit; send it again later",
        code="queue_full",
        headers={"Retry-After": str(RETRY_AFTER)},
    )


def stopping() -> APIError:
    """The error for a request that a server drops when it stops."""
    return APIError(503, "the server is stopping; send the request again later", code="stopping")


def no_memory() -> APIError:
    """The error for a request that does not fit into memory beside the others."""
    return APIError(
        503,
        "not enough memory for this request beside the others; send it again later, or ask for fewer tokens or samples",
        code="out_of_memory",
        headers={"Retry-After": str(RETRY_AFTER)},
    )


def internal() -> APIError:
    """The error for a bug; its details are in the log, and not told to clients."""
    return APIError(500, "the server failed to answer this request; its log says why", code="internal_error")


def as_api_error(error: BaseException, prompt_field: str | None = None) -> APIError:
    """What a client is told of an exception.

    Args:
        error: the exception.
        prompt_field: the name of the field with the prompt, which faults of the prompt name.
    """
    if isinstance(error, APIError):
        return error
    if out_of_memory(error):
        return no_memory()
    if isinstance(error, InvalidPrompt):
        return APIError(400, str(error), prompt_field, "invalid_prompt")
    if isinstance(error, UnsupportedByEngine | UnsupportedModel):
        return APIError(400, str(error), None, "unsupported")
    if isinstance(error, InvalidSetting):
        named = SETTING.match(str(error))
        return APIError(400, str(error), named[1] if named else None, "invalid_value")
    if isinstance(error, TrimtabError):
        return APIError(500, str(error), None, "generation_failed")
    return internal()
