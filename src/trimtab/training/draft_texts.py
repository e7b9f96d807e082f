"""The texts that a draft head learns from: what its language model writes, and texts as they stand."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, final

from trimtab.data.files import shown_path
from trimtab.data.jsonlines import append_rows, read_lines
from trimtab.data.tables import digest_of
from trimtab.engines.sampling_params import SamplingParams
from trimtab.errors import InvalidData, InvalidPrompt
from trimtab.models.codec import TextCodec
from trimtab.models.frozen_lm import FrozenLM
from trimtab.rewards.weights import sha256
from trimtab.training.draft_settings import DraftSettings
from trimtab.training.kept_folder import claim
from trimtab.training.own_texts import RECORD, TEXTS_FILE, kept_rows, openings, sampled
from trimtab.training.saving import saving

BATCH = 48  # texts that the model writes at once
Ids = Sequence[int]
EXPECTED_ROW = 'expected an object with "prompt", "messages" or "text"'


class DraftData(NamedTuple):
    """What a draft head learns from.

    Attributes:
        prompts: token ids that the model continues.
        texts: token ids as they stand.
        faults: the rows that cannot be used.
        sha256: of the file; None without one.
    """

    prompts: list[list[int]]
    texts: list[list[int]]
    faults: list[str]
    sha256: str | None = None


def read_draft_data(path: Path, codec: TextCodec) -> DraftData:
    """Read a file of prompts, of conversations to answer, and of texts.

    Args:
        path: JSON lines; a row has "prompt" (a text to continue), "messages" (a conversation to answer) or "text",
            which is cut at the end of the model's context.
        codec: encodes them.

    Raises:
        InvalidData: no such file, or no usable row.
        InvalidSetting: a conversation, and the model has no chat template.
    """
    prompts, texts, faults = list[list[int]](), list[list[int]](), list[str]()
    for line in read_lines(path):
        if line.row is None:
            faults.append(str(line.fault))
            continue
        asks = "messages" in line.row or "prompt" in line.row
        try:
            (prompts if asks else texts).append(_prompt_ids(line.row, codec) if asks else _text_ids(line.row, codec))
        except InvalidPrompt as error:
            faults.append(f"line {line.number}: {error}")
    if not prompts and not texts:
        first = (faults or ["it is empty"])[0]
        raise InvalidData(f"{shown_path(path)} has no usable row; first fault: {first}; {EXPECTED_ROW}")
    return DraftData(prompts, texts, faults, sha256(path))


def _prompt_ids(row: Mapping[str, Any], codec: TextCodec) -> list[int]:
    given = row["messages"] if "messages" in row else row["prompt"]
    if not isinstance(given, str | list):
        raise InvalidPrompt(EXPECTED_ROW)
    return codec.encode_prompt(given)


def _text_ids(row: Mapping[str, Any], codec: TextCodec) -> list[int]:
    if not isinstance(text := row.get("text"), str):
        raise InvalidPrompt(EXPECTED_ROW)
    if not (ids := codec.encode_text(text)):
        raise InvalidPrompt("got an empty text, expected at least one token")
    return [*codec.opening_ids(), *ids][: codec.context_length]


def opening_prompts(codec: TextCodec, count: int) -> DraftData:
    """The openings that ship with the package, in turn: a model writes another text from each."""
    starts = [codec.encode_prompt(opening) for opening in openings()]
    return DraftData([starts[number % len(starts)] for number in range(count)], [], [])


@final
class OwnTexts:
    """Writes a model's continuations of prompts. They are kept in a folder, so that an interrupted run resumes.

    Args:
        base: the language model.
        prompts: token ids.
        settings: how long, and by which candidates.
        folder: keeps the texts; None keeps nothing.

    Raises:
        InvalidData: the folder holds texts of other settings, or other files.
        InvalidOutput: it cannot be written.
    """

    def __init__(self, base: FrozenLM, prompts: Sequence[Ids], settings: DraftSettings, folder: Path | None):
        self._base, self._settings, self._folder = base, settings, folder
        self._prompts = [ids[: settings.max_tokens - 1] for ids in prompts]

    def write(self, progress: Callable[[int, int], None] = lambda done, total: None) -> list[list[int]]:
        """The token ids of each prompt with its continuation."""
        settings, found = self._settings, self._kept()
        params = SamplingParams(top_k=settings.top_k, max_new_tokens=settings.new_tokens, seed=settings.seed)
        progress(len(found), len(self._prompts))
        for written in sampled(self._base, self._prompts, len(found), params, settings.max_tokens, BATCH):
            if self._folder is not None:
                with saving(self._folder, "the model's own texts"):
                    append_rows(self._folder / TEXTS_FILE, [{"token_ids": ids} for ids in written])
            found += written
            progress(len(found), len(self._prompts))
        return found

    def _kept(self) -> list[list[int]]:
        if self._folder is None:
            return []
        settings = {
            "base": self._base.base_weights_fingerprint,
            "prompts": digest_of(self._prompts),
            "tokens": [self._settings.new_tokens, self._settings.max_tokens],
            "top_k": self._settings.top_k,
            "seed": self._settings.seed,
        }
        claim(self._folder / RECORD, settings, "texts that a model wrote")
        return kept_rows(self._folder / TEXTS_FILE, "token_ids", list)[: len(self._prompts)]
