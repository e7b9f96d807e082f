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
    """The language model's own hidden states, of a layer two thirds up: their mean from a node on; no other model.

    Differs from the paper: the model that writes compares, and it has read the text in its context.
    """

    name = OWN

    def embed(self, drafts: Sequence[Draft], engine: Engine) -> list[Sequence[Embedding]]:
        """One forward of the tokens of all branches and drafts; what is before them is remembered."""
        asked = [(draft, draft.tail_lengths[0]) for draft in drafts if draft.tail_lengths and draft.tail_lengths[0]]
        if not asked:
            return [() for _ in drafts]
        texts = [(*draft.prompt_ids, *draft.token_ids) for draft, _ in asked]
        read = engine.states(texts, [length for _, length in asked])
        states = {id(draft): each.double().numpy() for (draft, _), each in zip(asked, read, strict=True)}
        return [
            [_unit(states[id(draft)][-max(length, 1) :].mean(0)) for length in draft.tail_lengths]
            if id(draft) in states
            else ()
            for draft in drafts
        ]


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


def _unit(vector: Embedding) -> Embedding:
    """A vector as long as the sentence encoder's are: the thresholds on variances are made for those."""
    return vector / np.linalg.norm(vector)
