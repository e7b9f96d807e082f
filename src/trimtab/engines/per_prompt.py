"""The arguments of a call as lists: its prompts, and one value for each of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.checking import shown
from trimtab.errors import InvalidPrompt, InvalidSetting, WrongType
from trimtab.models.codec import Prompt


def as_list(prompts: str | Sequence[Prompt]) -> list[Prompt]:
    """One text, or the prompts of a list.

    Raises:
        InvalidPrompt: not a text and not a list of prompts, such as one bare conversation.
    """
    if isinstance(prompts, str):
        return [prompts]
    found: object = prompts
    if not isinstance(found, Sequence) or any(isinstance(prompt, Mapping) for prompt in found):
        raise InvalidPrompt(
            f"got {shown(found)}, expected a text or a list of prompts: use chat(messages), or a list of conversations"
        )
    if wrong := [prompt for prompt in found if not isinstance(prompt, Sequence)]:
        raise InvalidPrompt(f"got the prompt {shown(wrong[0])}, expected a list of messages, or a text")
    return list(prompts)


def per_prompt(given: Any, kind: type, prompts: Sequence[Prompt], name: str, expected: str) -> list[Any]:
    """One value for each prompt: the given one for all, or the given list.

    Raises:
        InvalidSetting: a value of another kind, or a list of another length.
    """
    values = [given] * len(prompts) if given is None or isinstance(given, kind) else given
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise WrongType(f"got {name}={shown(given)}, expected {expected}")
    if len(values) != len(prompts):
        raise InvalidSetting(
            f"got a list of {len(values)} for {name}, expected one value, or one per prompt: {len(prompts)}"
        )
    if wrong := [value for value in values if value is not None and not isinstance(value, kind)]:
        raise WrongType(f"got {name}={shown(wrong[0])}, expected {expected}")
    return list(values)
