"""Texts that a language model writes itself, from openings that ship with the package, for training without data."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trimtab.data.jsonlines import append_rows, drop_torn_line, read_lines
from trimtab.engines.base import Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.engine import TorchEngine
from trimtab.errors import InvalidData
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.text_fingerprint import text_fingerprint
from trimtab.training.kept_folder import claim
from trimtab.training.saving import saving

OPENINGS_FILE = Path(__file__).parent / "openings.txt"
RECORD = "texts.json"
TEXTS_FILE = "texts.jsonl"
BATCH = 16
PART_OF_A_CHARACTER = "\ufffd"
Progress = Callable[[Sequence[str], int], None]


def openings() -> list[str]:
    """The openings: one a line."""
    return OPENINGS_FILE.read_text(encoding="utf-8").splitlines()


def write_own_texts(
    base: FrozenLM,
    count: int,
    tokens: int,
    seed: int,
    folder: Path | None = None,
    progress: Progress = lambda written, count: None,
) -> list[str]:
    """Sample texts from a model at temperature 1, each from the next opening. Texts of an earlier run are read again.

    Args:
        base: the language model.
        count: how many texts.
        tokens: maximum tokens of each text, its opening included.
        seed: the same seed gives the same texts.
        folder: keeps the texts as they are written; None keeps nothing.
        progress: called with the texts that are written, and with the number of all.

    Raises:
        InvalidData: the folder holds texts of another model or seed, or other files.
        InvalidOutput: it cannot be written.
    """
    found = [] if folder is None else _kept(folder, base, tokens, seed)[:count]
    progress(found, count)
    for texts in _batches(base, len(found), count, tokens, seed):
        if folder is not None:
            with saving(folder, "the model's own texts"):
                append_rows(folder / TEXTS_FILE, [{"text": text} for text in texts])
        found += texts
        progress(found, count)
    return found


def _batches(base: FrozenLM, start: int, count: int, tokens: int, seed: int) -> Iterator[list[str]]:
    starts = [base.codec.encode_prompt(opening) for opening in openings()]
    prefixes = [starts[number % len(starts)] for number in range(count)]
    params = SamplingParams(top_k=None, max_new_tokens=tokens, seed=seed)
    for written in sampled(base, prefixes, start, params, tokens, BATCH):
        yield [base.codec.decode(ids).rstrip(PART_OF_A_CHARACTER) for ids in written]


def sampled(
    base: FrozenLM, prefixes: Sequence[Sequence[int]], start: int, params: SamplingParams, tokens: int, batch: int
) -> Iterator[list[list[int]]]:
    """Batches of prefixes with what a model writes behind them. A text depends on its number and on the seed.

    Args:
        base: the language model.
        prefixes: token ids.
        start: the number of the first to continue.
        params: how to sample; with the seed and the number of a text comes its own seed.
        tokens: maximum tokens of a prefix and its text; one is always written.
        batch: texts at once.
    """
    engine = TorchEngine(base)
    for first in range(start, len(prefixes), batch):
        numbers = range(first, min(first + batch, len(prefixes)))
        requests = [_request(prefixes[number], params, tokens, number) for number in numbers]
        written = engine.sample(requests)
        yield [[*each.prefix, *found[0].token_ids] for each, found in zip(requests, written, strict=True)]


def _request(prefix: Sequence[int], params: SamplingParams, tokens: int, number: int) -> Request:
    room = max(1, min(params.max_new_tokens, tokens - len(prefix)))
    seed = int(text_fingerprint(f"{params.seed} {number}"), 16)
    return Request(prefix, replace(params, max_new_tokens=room, seed=seed))


def _kept(folder: Path, base: FrozenLM, tokens: int, seed: int) -> list[str]:
    settings: dict[str, Any] = {
        "base": base.base_weights_fingerprint,
        "openings": text_fingerprint(OPENINGS_FILE.read_text(encoding="utf-8")),
        "tokens": tokens,
        "seed": seed,
    }
    claim(folder / RECORD, settings, "texts that a model wrote")
    return [str(text) for text in kept_rows(folder / TEXTS_FILE, "text", str)]


def kept_rows(path: Path, name: str, kind: type) -> list[Any]:
    """What an earlier run wrote to a file of texts, whole lines only; empty if there is no file.

    Args:
        path: JSON lines.
        name: the field to read.
        kind: its type.

    Raises:
        InvalidData: a line has no such field.
    """
    if not path.exists():
        return []
    drop_torn_line(path)
    rows = [line.row for line in read_lines(path)]
    if not all(row is not None and isinstance(row.get(name), kind) for row in rows):
        raise InvalidData(f"cannot read the texts in {str(path)!r}; remove the file")
    return [row[name] for row in rows if row is not None]
