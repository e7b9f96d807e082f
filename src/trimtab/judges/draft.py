"""A draft: the text that a judge scores."""

from dataclasses import dataclass
from typing import final


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
    """

    prompt: str
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    text: str
    tails: tuple[str, ...] = ()
    tail_lengths: tuple[int, ...] = ()
