"""Rows of a table: JSON lines, CSV, TSV (each may be gzipped), or a data set on the Hub. Bad rows are named."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from trimtab.data.jsonlines import read_lines
from trimtab.errors import InvalidData

DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_SUFFIXES = {".jsonl", ".json", ".ndjson"}  # one JSON object per line
csv.field_size_limit(2**31 - 1)  # the default of 128 KiB is too short for some texts


class Record(NamedTuple):
    """A row of a table.

    Attributes:
        place: "line N" or "row N".
        row: the values by column; None if the row is bad.
        fault: what is wrong with the row; None if it is good.
    """

    place: str
    row: dict[str, Any] | None
    fault: str | None


def read_records(source: str, split: str = "train") -> Iterator[Record]:
    """Yield the rows of a table.

    Args:
        source: a .jsonl, .csv or .tsv file (.gz allowed), or a folder or Hub id that `datasets.load_dataset` takes.
        split: the split of a data set; files have none.

    Raises:
        InvalidData: there is nothing of that name, or it is damaged or of another format.
    """
    path = Path(source)
    kind = _kind(path)
    if kind in DELIMITERS:
        yield from _read_delimited(path, DELIMITERS[kind])
    elif kind in JSON_SUFFIXES:
        for line in read_lines(path):
            yield Record(f"line {line.number}", line.row, line.fault)
    elif path.is_file():
        raise InvalidData(f"got {source!r}, expected {', '.join(sorted({*DELIMITERS, *JSON_SUFFIXES}))} (.gz allowed)")
    else:
        yield from _read_dataset(source, split)


def _kind(path: Path) -> str:
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    return suffixes[-1].lower() if suffixes else ""


def _read_delimited(path: Path, delimiter: str) -> Iterator[Record]:
    if not path.is_file():
        raise InvalidData(f"got {str(path)!r}, expected a table; there is no such file")
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        rows = csv.DictReader(text, delimiter=delimiter)
        try:
            yield from (_checked(f"line {rows.line_num}", row) for row in rows)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InvalidData(f"{str(path)!r} is not a complete gzip file: {error}") from error
        except (csv.Error, UnicodeDecodeError) as error:
            raise InvalidData(f"{str(path)!r} cannot be read at line {rows.line_num + 1}: {error}") from error


def _checked(place: str, row: dict[Any, Any]) -> Record:
    if None in row or None in row.values():
        return Record(place, None, f"{place}: expected as many fields as the header has")
    return Record(place, row, None)


def _read_dataset(source: str, split: str) -> Iterator[Record]:
    try:
        import datasets
    except ImportError as error:
        raise InvalidData(
            f"got {source!r}: there is no such file, and data sets need: pip install 'trimtab[data]'"
        ) from error
    try:
        rows: Iterable[Any] = datasets.load_dataset(source, split=split)
    except Exception as error:  # datasets raises whatever its readers and the network raise
        reason = " ".join(str(error).split())[:200]
        raise InvalidData(
            f"got {source!r}, expected a file, or a data set with a split {split!r} ({reason})"
        ) from error
    for number, row in enumerate(rows, start=1):
        yield Record(f"row {number}", dict(row), None)
