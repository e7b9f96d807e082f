"""A draft: the text that a judge scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from trimtab.models.codec import Prompt, prompt_text


@final
@dataclass(frozen=True)
class Draft:
    """A prompt and a continuation. A search also says where in its tree the continuation is.

    Attributes:
        prompt: the prompt as text; of a conversation, its messages as text.
        prompt_ids: the prompt's tokens, chat template included.
        token_ids: the continuation's tokens, without EOS.
        text: the continuation as text.
        tails: for each node of the branch, the text from that node on.
        tail_lengths: the length of each of these texts, in tokens, without EOS.
        asked: the prompt as text, without the system message of a conversation.
        answers: whether the continuation is the next turn of a conversation, and not what follows the prompt's text.
    """

    prompt: str
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    text: str
    tails: tuple[str, ...] = ()
    tail_lengths: tuple[int, ...] = ()
    asked: str = ""
    answers: bool = False

    @classmethod
    def of(cls, prompt: Prompt, prompt_ids: Sequence[int], token_ids: Sequence[int], text: str) -> "Draft":
        """A draft behind a text, or an answer to a conversation; arguments as the attributes."""
        messages = None if isinstance(prompt, str) else [each for each in prompt if each["role"] != "system"]
        asked = prompt_text(messages or prompt)
        return cls(
            prompt_text(prompt), tuple(prompt_ids), tuple(token_ids), text, asked=asked, answers=messages is not None
        )
