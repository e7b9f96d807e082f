"""A judged draft of a search."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

from trimtab.engines.base import Choice, FinishReason
from trimtab.judges.draft import Draft
from trimtab.rewind.tree import Embedding


@final
@dataclass(frozen=True)
class JudgedDraft:
    """A draft with its score and embeddings.

    Attributes:
        draft: the draft.
        score: s, from −1 to 1.
        embeddings: of its tails; empty if similarity is off.
        choices: its tokens and their candidates, an EOS included.
        rollout_text: the text behind the branch.
        ended: why the draft ends.
    """

    draft: Draft
    score: float
    choices: tuple[Choice, ...] = field(repr=False)
    rollout_text: str
    embeddings: Sequence[Embedding] = field(default=(), repr=False)
    ended: FinishReason | None = None
