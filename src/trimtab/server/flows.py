"""The three ways to write a call's texts, each as a stream of progress and of pieces."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool

from trimtab.engines.base import Engine
from trimtab.models.codec import TextCodec
from trimtab.rewind.result import SearchResult
from trimtab.server.best_of import best_pieces
from trimtab.server.call import Call
from trimtab.server.pieces import Piece, SampleText, joined
from trimtab.server.searches import SearchTicket, search_piece
from trimtab.server.ticket import Ticket

Step = tuple[int, Piece] | dict[str, Any]  # a choice's index and its new text; or how far the work is


async def sampled(call: Call, ticket: Ticket, codec: TextCodec) -> AsyncIterator[tuple[int, Piece]]:
    """New text of the samples.

    A choice's index counts the samples of the first prompt, then those of the next.
    """
    n = call.params.n
    texts = [SampleText(codec, call.params.stop) for _ in range(ticket.rows)]
    async for chunks in ticket.chunks():
        for chunk in chunks:
            index = chunk.request * n + chunk.sample
            yield index, texts[index].push(chunk)


async def ranked(call: Call, ticket: Ticket, engine: Engine) -> AsyncIterator[Step]:
    """How many drafts are finished, and then the best ones."""
    found: dict[int, list[Piece]] = {}
    finished = 0
    async for index, piece in sampled(call, ticket, engine.codec):
        found.setdefault(index, []).append(piece)
        if piece.finish_reason is not None:
            finished += 1
            yield {"drafts": finished, "of": ticket.rows}
    if finished == ticket.rows:  # fewer if the client left
        drafts = [joined(found[index]) for index in range(ticket.rows)]
        for index, piece in enumerate(await run_in_threadpool(best_pieces, engine, call, drafts)):
            yield index, piece


async def searched(ticket: SearchTicket) -> AsyncIterator[Step]:
    """How far a search is, after each turn, and then its text."""
    async for event in ticket.events():
        if isinstance(event, SearchResult):
            ticket.tokens = len(event.token_ids)
            yield 0, search_piece(event)
        else:
            yield event


async def whole_texts(steps: AsyncIterator[Step]) -> Sequence[Piece]:
    """One finished piece for each choice; fewer if the client left."""
    found: dict[int, list[Piece]] = {}
    async for step in steps:
        if isinstance(step, tuple):
            found.setdefault(step[0], []).append(step[1])
    return [joined(found[index]) for index in sorted(found)]
