"""Readings: what a judge, or another reader, found in the texts of a row; kept beside them, made once."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from trimtab.evaluation.judges import Judge
from trimtab.evaluation.tasks import Task
from trimtab.files import file_name, read_record

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
        kept = read_record(path)
        digests = [_digest(text) for text in texts]
        known = dict(zip(kept["texts"], kept["values"], strict=True)) if kept else {}
        faults: list[str] = kept.get("faults", [])
        missing = [text for text, digest in zip(texts, digests, strict=True) if digest not in known]
        if missing and read:
            found = [value for chunk in _chunks(missing) for value in read_safely(read, chunk, faults)]
            known |= dict(zip(map(_digest, missing), found, strict=True))
            self.folder.mkdir(parents=True, exist_ok=True)
            record = {"reader": reader, "row": row, "about": dict(about or {}), "faults": faults}
            partial = path.with_suffix(".partial")
            record |= {"texts": list(known), "values": list(known.values())}
            partial.write_text(json.dumps(record), encoding="utf-8")
            partial.replace(path)
        width = len(next(iter(known.values()))) if known else 1
        return [known.get(digest, [math.nan] * width) for digest in digests]

    def readers(self) -> dict[str, dict[str, float]]:
        """All who have read here, with what was kept about them; judges in the order in which they were named."""
        records = [read_record(path) for path in sorted(self.folder.glob("*.json"))]
        known = {record["reader"]: record["about"] for record in records}
        return dict(sorted(known.items(), key=lambda item: item[1].get("place", math.inf)))

    def judges(self) -> list[str]:
        """Those of them who are judges."""
        return [name for name, about in self.readers().items() if "threshold" in about]

    def faults(self, row: str, reader: str) -> list[str]:
        """Why the reader failed on texts of a row."""
        return list(read_record(self.path(row, reader)).get("faults", []))

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


def _digest(text: Text) -> str:
    """What stands for a text: its place among the row's samples, so that equal texts are read and counted each."""
    whole = json.dumps([text["place"], text["sample"], text["prompt"], text["text"]])
    return hashlib.sha256(whole.encode()).hexdigest()[:16]
