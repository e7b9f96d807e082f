"""The prompts of a job: read from a file or from standard input, checked, numbered."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from trimtab.data.jsonlines import input_lines
from trimtab.engines.sampling_params import SamplingOptions
from trimtab.errors import InvalidData, InvalidPrompt
from trimtab.models.codec import Message, Prompt, TextCodec

Check = Callable[[Prompt, Sequence[int]], object]
SETTINGS = {*SamplingOptions.__annotations__, "system"}
EXPECTED_ROW = 'expected an object with a text under "prompt", or a list of messages under "messages"'


@final
@dataclass(frozen=True)
class NumberedPrompt:
    """A prompt and its place in the input.

    Attributes:
        line: its number, from 1.
        prompt: what is continued.
        given: {"prompt": …} or {"messages": …} as in the input.
    """

    line: int
    prompt: Prompt
    given: Mapping[str, Any]


def as_prompt(row: Mapping[str, Any], chat: bool = False, system: str | None = None) -> Prompt:
    """The prompt of one input row: its text, or the conversation that the settings make of it.

    Args:
        row: has "prompt", a text, or "messages", a list.
        chat: send a text as a user message.
        system: put this message first, unless the conversation has a system message; implies `chat`.

    Raises:
        InvalidPrompt: it has neither, or both.
    """
    if row.get("prompt") is not None and row.get("messages") is not None:
        raise InvalidPrompt('got "prompt" and "messages" in a row, expected one of them')
    if "steer" in row and "provenance" not in row:
        raise InvalidPrompt("got a steer in a row of prompts, expected it as --steer, which holds for all rows")
    text, messages = row.get("prompt"), row.get("messages")
    if isinstance(messages, list) and messages:
        found: list[Message] = list(messages)
    elif isinstance(text, str):
        if not chat and system is None:
            return text
        found = [{"role": "user", "content": text}]
    else:
        raise InvalidPrompt(EXPECTED_ROW)
    roles = [message.get("role") for message in found if isinstance(message, Mapping)]
    opening = [] if system is None or "system" in roles else [{"role": "system", "content": system}]
    return [*opening, *found]


def number_prompts(texts: Sequence[str], chat: bool, system: str | None) -> list[NumberedPrompt]:
    """Texts from the command line as numbered prompts."""
    rows = [{"prompt": text} for text in texts]
    return [NumberedPrompt(line, as_prompt(row, chat, system), row) for line, row in enumerate(rows, start=1)]


def read_prompts(
    source: Path, codec: TextCodec, chat: bool, system: str | None, check: Check = lambda prompt, ids: None
) -> tuple[list[NumberedPrompt], list[str]]:
    """The prompts of a file, a pipe or `-` (standard input) that can be continued, and the faults of the other lines.

    Args:
        source: the file.
        codec: encodes the prompts.
        chat, system: as in `as_prompt`.
        check: raises InvalidPrompt for a prompt and its tokens that cannot be continued.

    Raises:
        InvalidData: no such file.
        InvalidSetting: a conversation, and the model has no chat template.
    """
    prompts, faults = [], []
    for line in input_lines(source):
        if line.row is None:
            faults.append(str(line.fault))
            continue
        try:
            prompt = as_prompt(line.row, chat, system)
            check(prompt, codec.encode_prompt(prompt))
        except InvalidPrompt as error:
            faults.append(f"line {line.number}: {error}")
            continue
        given: dict[str, Any] = {key: line.row[key] for key in ("messages", "prompt") if key in line.row}
        prompts.append(NumberedPrompt(line.number, prompt, given))
    return prompts, faults


def unread_settings(source: Path) -> list[str]:
    """The settings of sampling that rows of prompts hold. Nothing reads them: a job has one setting for all rows."""
    names = {name for line in input_lines(source) for name in line.row or () if "provenance" not in (line.row or ())}
    return sorted(names & SETTINGS)


def usable_prompts(
    source: Path, codec: TextCodec, chat: bool, system: str | None, check: Check = lambda prompt, ids: None
) -> tuple[list[NumberedPrompt], list[str]]:
    """As `read_prompts`, which also refuses a file without any usable prompt.

    Raises:
        InvalidData: it has none; the message names the first fault.
    """
    prompts, faults = read_prompts(source, codec, chat, system, check)
    if not prompts:
        raise InvalidData(f"{str(source)!r} has no usable prompt; first fault: {(faults or ['it is empty'])[0]}")
    return prompts, faults
