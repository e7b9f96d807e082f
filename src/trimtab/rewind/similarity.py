"""How alike branches are: embeddings of the drafts below them (step 5's sharing, and step 2's widening)."""

from collections.abc import Sequence
from typing import Any, Protocol, final, runtime_checkable

import numpy as np

from trimtab.engines.base import Engine
from trimtab.errors import InvalidSetting
from trimtab.rewind.draft import Draft
from trimtab.rewind.tree import Embedding

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
OFF, OWN = "off", "lm"
EXTRA = "pip install 'trimtab[rewind]'"


@runtime_checkable
class Similarity(Protocol):
    """What embeds drafts."""

    @property
    def name(self) -> str:
        """For the record."""

    def embed(self, drafts: Sequence[Draft], engine: Engine) -> list[Sequence[Embedding]]:
        """For each draft, an embedding for each node of its branch; none if branches are not to be compared."""


@final
class NoSimilarity:
    """Branches are not compared: no scores are shared, and no node is widened."""

    name = OFF

    def embed(self, drafts: Sequence[Draft], engine: Engine) -> list[Sequence[Embedding]]:
        """Nothing."""
        return [() for _ in drafts]


@final
class SentenceSimilarity:
    """The paper's: a sentence encoder reads, for each node, the text from that node on.

    Args:
        name: of a sentence-transformers model: a folder or a Hub id.

    Raises:
        InvalidSetting: sentence-transformers is not installed, or there is no such model.
    """

    def __init__(self, name: str = MINILM):
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise InvalidSetting(f"similarity={name!r} needs: {EXTRA}; or choose 'lm' or 'off'") from error
        try:
            self._encoder: Any = SentenceTransformer(name)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:120]
            raise InvalidSetting(
                f"got similarity={name!r}, expected 'off', 'lm', or a sentence-transformers model ({reason})"
            ) from error
        self.name = name

    def embed(self, drafts: Sequence[Draft], engine: Engine) -> list[Sequence[Embedding]]:
        """The distinct texts of all drafts, in one batch."""
        texts = list(dict.fromkeys(tail for draft in drafts for tail in draft.tails))
        vectors = self._encoder.encode(texts, show_progress_bar=False) if texts else []
        found = dict(zip(texts, np.asarray(vectors, dtype=np.float64), strict=True))
        return [[found[tail] for tail in draft.tails] for draft in drafts]


@final
class OwnSimilarity:
    """The language model's own hidden state behind a draft, less its state behind the prompt; no other model.

    Differs from the paper: one embedding a draft, the same for all nodes of its branch, and of the text in its context.
    What is behind the prompt is taken off because the hidden states of a language model all point much the same way.
    """

    name = OWN

    def embed(self, drafts: Sequence[Draft], engine: Engine) -> list[Sequence[Embedding]]:
        """One forward of the last token of each draft, all others being remembered."""
        texts = [(*draft.prompt_ids, *draft.token_ids) for draft in drafts]
        prompts = list(dict.fromkeys(draft.prompt_ids for draft in drafts))
        states = np.asarray(engine.states([*texts, *prompts]), dtype=np.float64)
        starts = dict(zip(prompts, states[len(texts) :], strict=True))
        moved = [state - starts[draft.prompt_ids] for state, draft in zip(states, drafts, strict=False)]
        return [[vector] * len(draft.tails) for vector, draft in zip(moved, drafts, strict=True)]


def as_similarity(similarity: Any) -> Similarity:
    """What a user gives: `off`, `lm`, a sentence-transformers model's name, or an object with a name and `embed`."""
    if similarity == OFF:
        return NoSimilarity()
    if similarity == OWN:
        return OwnSimilarity()
    if isinstance(similarity, str):
        return SentenceSimilarity(similarity)
    if isinstance(similarity, Similarity):
        return similarity
    raise InvalidSetting(f"got similarity={similarity!r}, expected 'off', 'lm', or a sentence-transformers model")
