"""Readings: the numbers that judges and other readers return for the texts of a row, made once and saved."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import final

from trimtab.data.files import file_name, read_record
from trimtab.evaluation.score.readers import Read, Text

READINGS = "readings"
BATCH_SIZE = 256


@final
class Readings:
    """The saved readings of a comparison, one file for each row and reader.

    Args:
        folder: the folder of the comparison.
    """

    def __init__(self, folder: Path):
        self.folder = folder / READINGS

    def of(
        self, row: str, reader: str, texts: Sequence[Text], read: Read | None, about: Mapping[str, float] | None = None
    ) -> list[list[float]]:
        """The readings of a row's texts: the saved ones, and new ones for the other texts.

        A text on which the reader fails has NaN; the file says why.

        Args:
            row: the name of the row.
            reader: the name of the reader.
            texts: the texts of the row.
            read: makes new readings; None to use NaN instead.
            about: saved with the readings: of a judge its `threshold`, and its `place` among the judges.
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
        """All readers of this folder with their `about`; judges in the order in which they were named."""
        records = [read_record(path) for path in sorted(self.folder.glob("*.json"))]
        known = {record["reader"]: record["about"] for record in records}
        return dict(sorted(known.items(), key=lambda item: item[1].get("place", math.inf)))

    def judges(self) -> list[str]:
        """The names of the readers that are judges."""
        return [name for name, about in self.readers().items() if "threshold" in about]

    def faults(self, row: str, reader: str) -> list[str]:
        """Why the reader failed on texts of a row, one message per text."""
        return list(read_record(self.path(row, reader)).get("faults", []))

    def path(self, row: str, reader: str) -> Path:
        """The file of a row's readings by one reader."""
        return self.folder / f"{row}--{file_name(reader)}.json"


def read_safely(read: Read, texts: Sequence[Text], faults: list[str]) -> list[list[float]]:
    """Read texts together. If that fails, read each alone, with NaN and a message for those that fail."""
    try:
        found = [list(map(float, value)) for value in read(texts)]
        if len(found) != len(texts):
            raise ValueError(f"got {len(found)} readings of {len(texts)} texts, expected one for each")
    except Exception as error:  # a judge is the user's code: it may raise anything
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
    for start in range(0, len(texts), BATCH_SIZE):
        yield texts[start : start + BATCH_SIZE]


def _digest(text: Text) -> str:
    """A hash of a text and its place among the row's samples, so that equal texts are counted separately."""
    whole = json.dumps([text["place"], text["sample"], text["prompt"], text["text"]])
    return hashlib.sha256(whole.encode()).hexdigest()[:16]
