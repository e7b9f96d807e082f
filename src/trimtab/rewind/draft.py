"""A draft: what a judge reads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

from trimtab.engines.base import Choice
from trimtab.rewind.tree import Embedding


@final
@dataclass(frozen=True)
class Draft:
    """The text so far, a branch, and what was written behind it to see where it leads.

    Attributes:
        prompt: what the user gave.
        prompt_ids: its tokens, chat template and all.
        token_ids: the continuation, an EOS left out.
        text: the continuation.
        tails: for each node of the branch, the text from that node on.
        tail_lengths: the tokens of each of these texts, an EOS left out.
    """

    prompt: str
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    text: str
    tails: tuple[str, ...] = ()
    tail_lengths: tuple[int, ...] = ()


@final
@dataclass(frozen=True)
class Judged:
    """A draft with what was found out about it.

    Attributes:
        draft: the draft.
        score: s, from −1 to 1.
        embeddings: of its tails; empty if similarity is off.
        choices: its tokens with what they were chosen from, an EOS included.
        rollout: what was written behind the branch, as text.
    """

    draft: Draft
    score: float
    choices: tuple[Choice, ...] = field(repr=False)
    rollout: str
    embeddings: Sequence[Embedding] = field(default=(), repr=False)
