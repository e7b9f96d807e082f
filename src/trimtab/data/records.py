"""Rows of a table: JSON lines, CSV, TSV (each may be gzipped), or a data set on the Hub. Bad rows are named."""

import csv
import gzip
import io
import os
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trimtab.checking import checked, shown
from trimtab.data.files import shown_path
from trimtab.data.hub import reason_of
from trimtab.data.hub_datasets import load_dataset
from trimtab.data.jsonlines import is_file, read_lines, why_no_file
from trimtab.data.visible import legible
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


@checked
def read_records(source: str | Path, split: str = "train") -> Iterator[Record]:
    """Yield the rows of a table.

    Args:
        source: a .jsonl, .csv or .tsv file (.gz allowed), or a folder or Hub id that `datasets.load_dataset` takes.
        split: the split of a data set; files have none.

    Raises:
        WrongType: at the call: an argument of another type.
        InvalidData: there is nothing of that name, or it is damaged or of another format.
    """
    return _read(os.fspath(source), split)


def _read(source: str, split: str) -> Iterator[Record]:
    path = Path(source)
    kind = _kind(path)
    if kind in DELIMITERS:
        yield from _read_delimited(path, DELIMITERS[kind])
    elif kind in JSON_SUFFIXES:
        for line in read_lines(path):
            yield Record(f"line {line.number}", line.row, line.fault)
    elif is_file(path):
        suffixes = ", ".join(sorted({*DELIMITERS, *JSON_SUFFIXES}))
        raise InvalidData(f"got {shown_path(source)}, expected {suffixes} (.gz allowed)")
    else:
        yield from _read_dataset(source, split)


def _kind(path: Path) -> str:
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    return suffixes[-1].lower() if suffixes else ""


def _read_delimited(path: Path, delimiter: str) -> Iterator[Record]:
    if not is_file(path):
        raise InvalidData(f"got {shown_path(path)}, expected a table; {why_no_file(path)}")
    opener = gzip.open if path.suffix == ".gz" else open
    place = 0
    try:
        with opener(path, "rb") as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
            rows = csv.DictReader(text, delimiter=delimiter)
            _check_header(path, rows.fieldnames or ())
            for row in rows:
                place = rows.line_num
                yield _checked(f"line {place}", row)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InvalidData(f"{shown_path(path)} is not a complete gzip file: {error}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise InvalidData(f"{shown_path(path)} cannot be read at line {place + 1}: {error}") from error
    except OSError as error:
        raise InvalidData(f"cannot read {shown_path(path)}: {error.strerror or error}") from error


def _check_header(path: Path, columns: Sequence[str]) -> None:
    if len(set(columns)) < len(columns):
        (twice, _), *_ = Counter(columns).most_common(1)
        raise InvalidData(f"got {shown_path(path)} with two columns {shown(twice)}, expected different names")


def _checked(place: str, row: dict[Any, Any]) -> Record:
    if None in row or None in row.values():
        return Record(place, None, f"{place}: expected as many fields as the header has")
    return Record(place, row, None)


def _read_dataset(source: str, split: str) -> Iterator[Record]:
    if not source.strip():
        raise InvalidData("got no name for a table, expected a file or the Hub id of a data set")
    try:
        for number, row in enumerate(load_dataset(source, split), start=1):
            yield Record(f"row {number}", dict(row), None)
    except ImportError as error:
        raise InvalidData(
            f"got {shown_path(source)}: there is no such file, and data sets need: pip install 'trimtab[data]'"
        ) from error
    except Exception as error:  # datasets raises whatever its readers and the network raise
        reason = legible(reason_of(error), keep="")
        raise InvalidData(
            f"got {shown_path(source)}, expected a file, or a data set with a split {shown(split)} ({reason})"
        ) from error
