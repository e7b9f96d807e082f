"""Bodies in which an object has each key once: of two, JSON says nothing, and the last would hold in silence."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute

from trimtab.data.json_text import parse_for_schema


class OnceRequest(Request):
    """A request that refuses a key that is given twice."""

    async def json(self) -> Any:
        """The body's value.

        Raises:
            HTTPException: 400, a key occurs twice in an object, or a number has too many digits.
        """
        body = await self.body()
        try:
            return parse_for_schema(body)
        except ValueError as error:
            if type(error) is not ValueError:  # no JSON: FastAPI has an answer for that
                raise
            raise HTTPException(400, str(error)) from error


class OnceRoute(APIRoute):
    """A route whose requests are such."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, behind a request that reads JSON strictly."""
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await handle(OnceRequest(request.scope, request.receive))

        return strictly
