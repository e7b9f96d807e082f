"""Prompts in front of their texts, as the field `echo` asks for them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from trimtab.engines.base import Choice, Engine
from trimtab.generation import Token
from trimtab.models.codec import TextCodec
from trimtab.models.detokenizer import Detokenizer
from trimtab.server.api_errors import client_left
from trimtab.server.call import Call, Given
from trimtab.server.flows import Step
from trimtab.server.pieces import Piece

READERS = ThreadPoolExecutor(2, "trimtab-read")  # so that no number of long prompts takes the threads of all requests
TOGETHER = 8  # prompts that are read in one go; then it is seen whether the client has left


async def echoed(
    call: Call, engine: Engine, steps: AsyncIterator[Step], left: Callable[[], bool]
) -> AsyncIterator[Step]:
    """The prompt of every choice, and then its text.

    With log-probabilities or a trace, the model reads the prompts, steered as the texts are.

    Args:
        call: asks for it.
        engine: reads the prompts.
        steps: of the texts.
        left: tells whether the client has left.

    Raises:
        APIError: 499, the client left before all prompts were read.
    """
    reads = call.trace or call.logprobs is not None
    loop, threads = asyncio.get_running_loop(), READERS if reads else None
    prompts = list[Piece]()
    for start in range(0, len(call.prompts), TOGETHER):
        if left():
            raise client_left()
        some = slice(start, start + TOGETHER)
        prompts += await loop.run_in_executor(threads, prompt_pieces, engine, call, some, reads)
    opened = [piece for piece in prompts for _ in range(call.kept)]
    for index, piece in enumerate(opened):
        yield index, piece
    async for step in steps:
        yield step if isinstance(step, dict) else (step[0], step[1].moved(opened[step[0]].length))


def prompt_pieces(engine: Engine, call: Call, some: slice, reads: bool) -> list[Piece]:
    """Some prompts as the first pieces of their choices. If the model reads them, it takes a while."""
    prefixes = [list(request.prefix) for request in call.requests[some]]
    read: Sequence[Sequence[Choice]] = [()] * len(prefixes)
    if reads:
        read = engine.read(prefixes, call.steer, call.params.top_k, call.params.max_kl)
    return [
        prompt_piece(engine.codec, prompt, prefix, choices)
        for prompt, prefix, choices in zip(call.prompts[some], prefixes, read, strict=True)
    ]


def prompt_piece(codec: TextCodec, prompt: Given, ids: Sequence[int], choices: Sequence[Choice]) -> Piece:
    """One prompt.

    Args:
        codec: decodes it.
        prompt: as the client gave it.
        ids: its tokens.
        choices: of all tokens but the first; none if nobody asks for them.
    """
    detokenizer = Detokenizer(codec, opens=True)
    first, *texts = [detokenizer.push(token, place == len(ids)) for place, token in enumerate(ids, start=1)]
    tokens = [Token(codec, choice, text, None) for choice, text in zip(choices, texts, strict=False)]
    whole = prompt if isinstance(prompt, str) else "".join([first, *texts])
    return replace(Piece(whole, tuple(tokens), None, 0), first=first)
