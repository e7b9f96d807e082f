"""Readings: the numbers that judges and other readers return for the texts of a row, made once and saved."""

import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from trimtab.data.files import file_name, read_record
from trimtab.data.json_text import dump_json
from trimtab.errors import InvalidData, NonFiniteReward
from trimtab.evaluation.checks import holding, write_in
from trimtab.evaluation.score.readers import Read, Text, prompt_of

READINGS = "readings"
BATCH_SIZE = 256
NOT_ASCII = re.compile(r"[^ -~]")


@final
class Readings:
    """The saved readings of a comparison, one file for each row and reader.

    Args:
        folder: the folder of the comparison.
    """

    def __init__(self, folder: Path):
        self.folder = folder / READINGS

    def of(
        self, row: str, reader: str, texts: Sequence[Text], read: Read | None, about: Mapping[str, Any] | None = None
    ) -> list[list[float]]:
        """The readings of a row's texts: the saved ones, and new ones for the other texts.

        A text on which the reader fails has NaN; the file says why. Readings of another version of the reader, by the
        `identity` in `about`, are made again. Where new readings are saved, those of texts that the row has no longer
        are dropped.

        Args:
            row: the name of the row.
            reader: the name of the reader.
            texts: the texts of the row.
            read: makes new readings; None to use NaN instead.
            about: saved with the readings: of a judge its `threshold`, its `place` among the judges, and its
                `identity`: the version or the hash of what it is made of.

        Raises:
            InvalidData: the file of the readings is damaged.
            NonFiniteReward: the reader is a reward, and a reading is NaN or infinite.
        """
        if read is None:
            return self._of(row, reader, texts, None, {})
        with holding(self.folder, self.path(row, reader).name):  # another process waits, and finds the readings
            return self._of(row, reader, texts, read, dict(about or {}))

    def _of(
        self, row: str, reader: str, texts: Sequence[Text], read: Read | None, about: dict[str, Any]
    ) -> list[list[float]]:
        kept = self._saved(self.path(row, reader))
        if read and kept and _changed(kept["about"], about):
            kept = {}
        digests = [_digest(text) for text in texts]
        known = dict(zip(kept["texts"], kept["values"], strict=True)) if kept else {}
        missing = [text for text, digest in zip(texts, digests, strict=True) if digest not in known]
        if missing and read:
            known = {digest: known[digest] for digest in digests if digest in known}
            reasons = _reasons(kept)
            faults = [reasons[digest] for digest in known if digest in reasons]
            found = [value for chunk in _chunks(missing) for value in read_safely(read, chunk, faults)]
            known |= dict(zip(map(_digest, missing), found, strict=True))
            width = max(map(len, known.values()))  # where nothing of a chunk was read, a text has one NaN
            known = {digest: value if len(value) == width else value * width for digest, value in known.items()}
            record = {"reader": reader, "row": row, "about": about, "faults": faults}
            record |= {"texts": list(known), "values": list(known.values())}
            write_in(self.folder, self.path(row, reader).name, dump_json(record))
        width = len(next(iter(known.values()))) if known else 1
        return [known.get(digest, [math.nan] * width) for digest in digests]

    def readers(self) -> dict[str, dict[str, Any]]:
        """All readers of this folder with their `about`; judges in the order in which they were named."""
        records = [self._saved(path) for path in sorted(self.folder.glob("*.json"))]
        known = {record["reader"]: record["about"] for record in records}
        return dict(sorted(known.items(), key=lambda item: item[1].get("place", math.inf)))

    def judges(self) -> list[str]:
        """The names of the readers that are judges."""
        return [name for name, about in self.readers().items() if "threshold" in about]

    def faults(self, row: str, reader: str, texts: Sequence[Text]) -> list[str]:
        """Why the reader failed on some of the row's texts, one message per text."""
        reasons = _reasons(self._saved(self.path(row, reader)))
        return [reasons[digest] for digest in map(_digest, texts) if digest in reasons]

    def path(self, row: str, reader: str) -> Path:
        """The file of a row's readings by one reader."""
        return self.folder / f"{row}--{file_name(reader)}.json"

    def _saved(self, path: Path) -> dict[str, Any]:
        """The record in a file of readings, with NaN where a reader failed; an empty one if there is no file."""
        record = read_record(path, nan_is_null=True)
        if record and (fault := _fault(record)):
            raise InvalidData(f"{str(path)!r} is damaged ({fault}); remove it, and the texts are read again")
        if record:
            record["values"] = [[math.nan if x is None else x for x in value] for value in record["values"]]
        return record


def read_safely(read: Read, texts: Sequence[Text], faults: list[str]) -> list[list[float]]:
    """Read texts together. If that fails, read each half, and so on, with NaN and a message for the texts that fail.

    Raises:
        NonFiniteReward: the reader is a reward, and a reading is NaN or infinite.
    """
    try:
        found = [list(map(float, value)) for value in read(texts)]
        if len(found) != len(texts):
            raise ValueError(f"got {len(found)} readings of {len(texts)} texts, expected one for each")
    except NonFiniteReward:
        raise
    except Exception as error:  # a judge is the user's code: it may raise anything
        if len(texts) == 1:
            faults.append(f"{type(error).__name__}: {' '.join(str(error).split())[:160]}: {texts[0]['text'][:60]!r}")
            return [[math.nan]]
        half = len(texts) // 2
        found = [value for part in (texts[:half], texts[half:]) for value in read_safely(read, part, faults)]
        width = max(map(len, found))
        return [value if len(value) == width else value * width for value in found]
    faults += [
        f"not a number: {text['text'][:60]!r}"
        for text, value in zip(texts, found, strict=True)
        if any(map(math.isnan, value))
    ]
    return found


def _reasons(record: Mapping[str, Any]) -> dict[str, str]:
    """For the digest of each text on which the reader failed, why: `faults` are in the order of these texts."""
    values = zip(record.get("texts", []), record.get("values", []), strict=True)
    failed = [digest for digest, value in values if any(map(math.isnan, value))]
    return dict(zip(failed, record.get("faults", []), strict=False))


def _chunks(texts: Sequence[Text]) -> Iterator[Sequence[Text]]:
    for start in range(0, len(texts), BATCH_SIZE):
        yield texts[start : start + BATCH_SIZE]


def _digest(text: Text) -> str:
    """A hash of a text and its place among the row's samples, so that equal texts are counted separately."""
    whole = dump_json([text["place"], text["sample"], prompt_of(text), text["text"]])
    escaped = NOT_ASCII.sub(lambda found: "".join(f"\\u{unit:04x}" for unit in _utf16(found[0])), whole)
    return hashlib.sha256(escaped.encode()).hexdigest()[:16]


def _utf16(character: str) -> tuple[int, ...]:
    """The code units of a character in UTF-16, as JSON escapes it."""
    encoded = character.encode("utf-16-be", "surrogatepass")
    return tuple(int.from_bytes(encoded[start : start + 2], "big") for start in range(0, len(encoded), 2))


def _changed(kept: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    """Whether both say what the reader is made of, and differ."""
    return "identity" in kept and "identity" in about and kept["identity"] != about["identity"]


def _fault(record: Mapping[str, Any]) -> str:
    """What is wrong with the record in a file of readings; empty if nothing is."""
    kinds = {"reader": str, "row": str, "about": dict, "texts": list, "values": list}
    if wrong := [name for name, kind in kinds.items() if not isinstance(record.get(name), kind)]:
        return f"no {wrong[0]!r} of the right type"
    if not isinstance(record.get("faults", []), list):
        return "'faults' is no list"
    if len(record["texts"]) != len(record["values"]) or not all(isinstance(text, str) for text in record["texts"]):
        return "'texts' and 'values' do not belong together"
    if not all(isinstance(value, list) and value and all(map(_is_reading, value)) for value in record["values"]):
        return "'values' are not lists of numbers"
    if len({len(value) for value in record["values"]}) > 1:
        return "'values' have different lengths"
    about = record["about"]
    if any(type(about[name]) not in (int, float) for name in ("threshold", "place") if name in about):
        return "'threshold' and 'place' must be numbers"
    return ""


def _is_reading(value: object) -> bool:
    return value is None or type(value) in (int, float)
