"""JSON-lines files: read with every bad line named, and append so that interrupted runs resume."""

import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from trimtab.errors import InvalidData


class Line(NamedTuple):
    """A line of a JSON-lines file.

    Attributes:
        number: line number, from 1.
        row: the object on the line; None if the line is bad.
        fault: what is wrong with the line; None if it is good.
    """

    number: int
    row: dict[str, Any] | None
    fault: str | None


def read_lines(path: Path) -> Iterator[Line]:
    r"""Yield the lines of a JSON-lines file (.gz allowed) that are not blank.

    Only "\\n" ends a line: a text may contain U+2028 and other separators.

    Raises:
        InvalidData: there is no such file, or it is a damaged gzip file.
    """
    if not path.is_file():
        raise InvalidData(f"got {str(path)!r}, expected a JSON-lines file; there is no such file")
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        try:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _parse(number, line)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InvalidData(f"{str(path)!r} is not a complete gzip file: {error}") from error


def _parse(number: int, line: bytes) -> Line:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except ValueError as error:
        return Line(number, None, f"line {number}: not JSON: {error}")
    if not isinstance(row, dict):
        return Line(number, None, f"line {number}: got {type(row).__name__}, expected an object")
    return Line(number, row, None)


def append_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Append objects to a file, and wait until the disk has them."""
    with path.open("a", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def drop_torn_line(path: Path) -> None:
    """Remove an incomplete last line, which an interrupted run may leave."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
