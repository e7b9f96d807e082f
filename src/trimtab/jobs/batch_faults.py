"""Batches of which a prompt cannot be continued: its line is at fault, and all others are written."""

from collections.abc import Callable, Sequence
from typing import Any

from trimtab.errors import InvalidPrompt
from trimtab.jobs.prompts import NumberedPrompt

Write = Callable[[Sequence[NumberedPrompt]], list[dict[str, Any]]]


def write_batch(write: Write, prompts: Sequence[NumberedPrompt]) -> tuple[list[dict[str, Any]], dict[int, str]]:
    """The rows of some prompts, and the faults of those that cannot be continued, by line.

    Some faults show only while texts are written, as when a text outgrows a reward of another tokenizer. Each prompt of
    such a batch is written alone.

    Args:
        write: continues some prompts.
        prompts: one or more.
    """
    try:
        return write(prompts), {}
    except InvalidPrompt as error:
        if len(prompts) == 1:
            return [], {prompts[0].line: str(error)}
    rows: list[dict[str, Any]] = []
    faults: dict[int, str] = {}
    for prompt in prompts:
        of_prompt, fault = write_batch(write, [prompt])
        rows += of_prompt
        faults |= fault
    return rows, faults
