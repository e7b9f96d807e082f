"""Similarity of branches: embeddings of the drafts below them, for sharing scores (step 5) and widening (step 2)."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

import numpy as np

from trimtab.checking import shown
from trimtab.data.files import shown_path
from trimtab.data.hub import HubFault, fetch, is_offline, reason_of
from trimtab.engines.base import Capability, Engine
from trimtab.errors import InvalidSetting, WrongType
from trimtab.judges.draft import Draft
from trimtab.rewind.tree import Embedding

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
OFF, HIDDEN_STATES = "off", "lm"
EXTRA = "pip install 'trimtab[rewind]'"
EXPECTED = "expected 'off', 'lm', or a sentence-transformers model"
MODULES_FILE = "modules.json"


@runtime_checkable
class Similarity(Protocol):
    """Embeds drafts."""

    @property
    def name(self) -> str:
        """Its name in records."""

    @property
    def needs(self) -> frozenset[Capability]:
        """What the engine must be able to do."""

    def embed(self, drafts: Sequence[Draft], engine: Engine) -> list[Sequence[Embedding]]:
        """For each draft, an embedding for each node of its branch; none if branches are not compared."""


@final
class NoSimilarity:
    """Branches are not compared: no scores are shared, no node is widened."""

    name = OFF
    needs: frozenset[Capability] = frozenset()

    def embed(self, drafts: Sequence[Draft], engine: Engine) -> list[Sequence[Embedding]]:
        """No embeddings."""
        return [() for _ in drafts]


@final
class SentenceSimilarity:
    """Compares branches with a sentence encoder, as the paper does.

    The encoder reads, for each node, the text from that node on.

    Args:
        name: of a sentence-transformers model: a folder or a Hub id.

    Raises:
        InvalidSetting: sentence-transformers is not installed, or there is no such model.
    """

    def __init__(self, name: str = MINILM):
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise InvalidSetting(f"similarity={shown_path(name)} needs: {EXTRA}; or choose 'lm' or 'off'") from error
        try:
            if not Path(name).is_dir():
                fetch(name, [MODULES_FILE])  # refuses a name that the Hub does not have within seconds
            self._encoder: Any = SentenceTransformer(name, local_files_only=bool(is_offline()))
        except Exception as error:  # a damaged folder may raise any error of three libraries
            raise InvalidSetting(f"got similarity={shown_path(name)}, {EXPECTED} ({reason_of(error)})") from error
        self.name = name
        self.needs: frozenset[Capability] = frozenset()

    def embed(self, drafts: Sequence[Draft], engine: Engine) -> list[Sequence[Embedding]]:
        """The distinct texts of all drafts, in one batch."""
        texts = list(dict.fromkeys(tail for draft in drafts for tail in draft.tails))
        vectors = self._encoder.encode(texts, show_progress_bar=False) if texts else []
        found = dict(zip(texts, np.asarray(vectors, dtype=np.float64), strict=True))
        return [[found[tail] for tail in draft.tails] for draft in drafts]


@final
class HiddenStateSimilarity:
    """Embeds the text below a node: the mean of the language model's own hidden states, two thirds up its layers.

    Differs from the paper: no second model; the text is read in its context.
    """

    name = HIDDEN_STATES
    needs: frozenset[Capability] = frozenset({"states"})

    def embed(self, drafts: Sequence[Draft], engine: Engine) -> list[Sequence[Embedding]]:
        """One forward call for the tokens of all branches and drafts; the prefix cache holds what is before them."""
        compared = [(draft, draft.tail_lengths[0]) for draft in drafts if draft.tail_lengths and draft.tail_lengths[0]]
        if not compared:
            return [() for _ in drafts]
        texts = [(*draft.prompt_ids, *draft.token_ids) for draft, _ in compared]
        read = engine.states(texts, [length for _, length in compared])
        states = {id(draft): each.double().numpy() for (draft, _), each in zip(compared, read, strict=True)}
        return [
            [_unit(states[id(draft)][-max(length, 1) :].mean(0)) for length in draft.tail_lengths]
            if id(draft) in states
            else ()
            for draft in drafts
        ]


def as_similarity(similarity: str | Similarity) -> Similarity:
    """A similarity from `off`, `lm`, the name of a sentence-transformers model, or a `Similarity`.

    Raises:
        InvalidSetting: there is no such model.
        WrongType: something else.
    """
    if isinstance(similarity, str):
        if similarity in (OFF, HIDDEN_STATES):
            return NoSimilarity() if similarity == OFF else HiddenStateSimilarity()
        check_similarity(similarity)
        return SentenceSimilarity(similarity)
    if isinstance(similarity, Similarity) and not isinstance(similarity, type):
        return similarity
    raise WrongType(f"got similarity={shown(similarity)}, {EXPECTED}")


def check_similarity(name: str) -> None:
    """Refuse the name of a similarity that cannot be loaded, before any model loads.

    Raises:
        InvalidSetting: sentence-transformers is not installed, or there is no such model.
    """
    if name in (OFF, HIDDEN_STATES):
        return
    if find_spec("sentence_transformers") is None:
        raise InvalidSetting(f"similarity={shown_path(name)} needs: {EXTRA}; or choose 'lm' or 'off'")
    try:
        folder = Path(name) if name and Path(name).is_dir() else fetch(name, [MODULES_FILE])
        found = any((folder / file).is_file() for file in (MODULES_FILE, "config.json"))
    except (HubFault, OSError, ValueError) as error:
        raise InvalidSetting(f"got similarity={shown_path(name)}, {EXPECTED} ({reason_of(error)})") from error
    if not found:
        raise InvalidSetting(f"got similarity={shown_path(name)}, {EXPECTED} (its folder has no {MODULES_FILE})")


def _unit(vector: Embedding) -> Embedding:
    """The vector at length 1, as a sentence encoder returns it: the variance threshold assumes that."""
    return vector / np.linalg.norm(vector)
