"""Readings: what a judge, or another reader, found in the texts of a row; kept beside them, made once."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from trimtab.errors import InvalidData
from trimtab.evaluation.judges import Judge
from trimtab.evaluation.tasks import Task
from trimtab.files import file_name

READINGS = "readings"
TOGETHER = 256
Text = Mapping[str, Any]  # a line of a row, as `sweep.describe` writes it
Read = Callable[[Sequence[Text]], Sequence[Sequence[float]]]


@final
class Readings:
    """The folder of what was read, a file for each row and reader.

    Args:
        folder: of the comparison.
    """

    def __init__(self, folder: Path):
        self.folder = folder / READINGS

    def of(
        self, row: str, reader: str, texts: Sequence[Text], read: Read | None, about: Mapping[str, float] | None = None
    ) -> list[list[float]]:
        """The readings of a row's texts: those kept, and new ones of the texts that came since.

        A text that the reader fails on, alone, has NaN; why is kept in the file.

        Args:
            row: the name of its file.
            reader: the name.
            texts: of the row.
            read: makes new ones; None: NaN for what is not kept.
            about: kept with what was read; of a judge its `threshold`, and its `place` among the judges.
        """
        path = self.path(row, reader)
        kept = _load(path)
        values = kept["values"] if kept and kept["texts"] == _digest(texts[: len(kept["values"])]) else []
        values = values[: len(texts)]
        faults: list[str] = kept["faults"] if values and kept else []
        missing = texts[len(values) :]
        if missing and read:
            values = values + [value for chunk in _chunks(missing) for value in read_safely(read, chunk, faults)]
            self.folder.mkdir(parents=True, exist_ok=True)
            record = {"reader": reader, "row": row, "about": dict(about or {}), "texts": _digest(texts)}
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps({**record, "faults": faults, "values": values}), encoding="utf-8")
            partial.replace(path)
        width = len(values[0]) if values else 1
        return [*values, *([math.nan] * width for _ in texts[len(values) :])]

    def readers(self) -> dict[str, dict[str, float]]:
        """All who have read here, with what was kept about them; judges in the order in which they were named."""
        records = [_load(path) for path in sorted(self.folder.glob("*.json"))]
        known = {record["reader"]: record["about"] for record in records}
        return dict(sorted(known.items(), key=lambda item: item[1].get("place", math.inf)))

    def faults(self, row: str, reader: str) -> list[str]:
        """Why the reader failed on texts of a row."""
        kept = _load(self.path(row, reader))
        return list(kept["faults"]) if kept else []

    def path(self, row: str, reader: str) -> Path:
        """The file of a row's readings."""
        return self.folder / f"{row}--{file_name(reader)}.json"


def judge_reader(judge: Judge, task: Task) -> Read:
    """A judge as a reader of what the task shows it: one score a text."""
    whole = task.judged == "whole"

    def read(texts: Sequence[Text]) -> list[list[float]]:
        return [[float(s)] for s in judge.score([(t["prompt"] if whole else "") + t["text"] for t in texts])]

    return read


def read_safely(read: Read, texts: Sequence[Text], faults: list[str]) -> list[list[float]]:
    """Read texts together; if that fails, each alone, with NaN and a note for those that fail."""
    try:
        found = [list(map(float, value)) for value in read(texts)]
        if len(found) != len(texts):
            raise ValueError(f"got {len(found)} readings of {len(texts)} texts")
    except Exception as error:  # a judge is anybody's code
        if len(texts) == 1:
            faults.append(f"{type(error).__name__}: {' '.join(str(error).split())[:160]}: {texts[0]['text'][:60]!r}")
            return [[math.nan]]
        found = [value for text in texts for value in read_safely(read, [text], faults)]
        width = max(map(len, found))
        return [value if len(value) == width else value * width for value in found]
    faults += [
        f"not a number: {text['text'][:60]!r}"
        for text, value in zip(texts, found, strict=True)
        if any(map(math.isnan, value))
    ]
    return found


def _chunks(texts: Sequence[Text]) -> Iterator[Sequence[Text]]:
    for start in range(0, len(texts), TOGETHER):
        yield texts[start : start + TOGETHER]


def _digest(texts: Sequence[Text]) -> str:
    return hashlib.sha256(json.dumps([[text["prompt"], text["text"]] for text in texts]).encode()).hexdigest()[:16]


def _load(path: Path) -> Any:
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidData(f"cannot read {str(path)!r}: {error}; remove it and report again") from error
