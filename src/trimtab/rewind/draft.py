"""A draft: what a judge reads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

from trimtab.engines.base import Choice
from trimtab.judges.draft import Draft
from trimtab.rewind.tree import Embedding


@final
@dataclass(frozen=True)
class JudgedDraft:
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
