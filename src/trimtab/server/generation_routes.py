"""`POST /v1/completions` and `POST /v1/chat/completions`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from trimtab.errors import TrimtabError
from trimtab.server.api_errors import as_api_error, client_left
from trimtab.server.call import Call
from trimtab.server.documented import STREAM
from trimtab.server.echo import echoed
from trimtab.server.flows import Step, ranked, sampled, searched, whole_texts
from trimtab.server.http import event_stream, json_response, watch
from trimtab.server.logs import about_ticket
from trimtab.server.schemas import ChatRequest, CompletionRequest
from trimtab.server.searches import SearchTicket
from trimtab.server.state import ServerState
from trimtab.server.ticket import Ticket

AnyTicket = Ticket | SearchTicket


def add_generation_routes(app: FastAPI, state: ServerState) -> None:
    """Add the two routes that write texts."""

    @app.post("/v1/completions", responses=STREAM)
    async def completions(body: CompletionRequest, request: Request) -> Response:
        """Continue prompts."""
        call = await run_in_threadpool(state.intake.completion, body)
        return await answer(state, call, request, bool(body.stream))

    @app.post("/v1/chat/completions", responses=STREAM)
    async def chat(body: ChatRequest, request: Request) -> Response:
        """Answer a conversation, in the model's chat template."""
        call = await run_in_threadpool(state.intake.chat, body)
        return await answer(state, call, request, bool(body.stream))


async def answer(state: ServerState, call: Call, request: Request, stream: bool) -> Response:
    """Write the texts of a call, at once or as they come. If the client leaves, its rows are freed.

    Raises:
        APIError: the call cannot be answered; 499, the client left before the texts were written.
    """
    ticket = state.searches.submit(call) if call.search else state.scheduler.submit(call.requests)
    watcher = asyncio.create_task(watch(request, ticket.cancel))
    end = partial(finish, state, call, ticket, request, watcher)
    steps = steps_of(state, call, ticket)
    if stream:
        return event_stream(events(state, call, ticket, steps, end), call.prompt_field)
    try:
        found = await whole_texts(steps)
        if watcher.done():
            raise client_left()
    except TrimtabError as error:
        raise as_api_error(error, call.prompt_field) from error
    finally:
        end()
    return json_response(await run_in_threadpool(state.responses.whole, call, found, ticket.tokens))


def steps_of(state: ServerState, call: Call, ticket: AnyTicket) -> AsyncIterator[Step]:
    """The texts of a call as they come."""
    steps = written_steps(state, call, ticket)
    return echoed(call, state.lm.engine, steps, lambda: ticket.left) if call.echo else steps


def written_steps(state: ServerState, call: Call, ticket: AnyTicket) -> AsyncIterator[Step]:
    """The same, without the prompts."""
    if isinstance(ticket, SearchTicket):
        return searched(ticket)
    if call.ranking is not None:
        return ranked(call, ticket, state.lm.engine)
    return sampled(call, ticket, state.lm.engine.codec)


async def events(
    state: ServerState, call: Call, ticket: AnyTicket, steps: AsyncIterator[Step], end: Callable[[], None]
) -> AsyncIterator[dict[str, Any]]:
    """The events of a stream."""
    responses, quiet = state.responses, not call.trace and call.logprobs is None
    try:
        yield responses.opening(call)
        async for step in steps:
            if isinstance(step, dict):
                yield responses.progress(call, step)
            elif step[1].text or step[1].finish_reason or not quiet:
                yield responses.event(call, *step)
        if call.include_usage:
            yield responses.closing(call, ticket.tokens)
    finally:
        end()


def finish(state: ServerState, call: Call, ticket: AnyTicket, request: Request, watcher: asyncio.Task[None]) -> None:
    """Free what a request still has, count it, and tell the log about it."""
    watcher.cancel()
    ticket.cancel()
    request.state.about.update(about_ticket(call, ticket))
    per_row = ticket.tokens / ticket.rows
    first, ended = ticket.first_token, ticket.ended
    timed = None
    if first is not None and ended is not None and ended > first and per_row > 1:  # a search's text comes at once
        timed = (ended - first) / (per_row - 1)
    read = 0 if ticket.joined is None else call.prompt_tokens
    state.metrics.written(read, ticket.tokens, timed)
