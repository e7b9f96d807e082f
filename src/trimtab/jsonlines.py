"""JSON-lines files: read with every fault named, appended to so that a killed run can go on."""

import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from trimtab.errors import InvalidData


class Line(NamedTuple):
    """A line of a file: its number from 1, and its object or what is wrong with it."""

    number: int
    row: dict[str, Any] | None
    fault: str | None


def read_lines(path: Path) -> Iterator[Line]:
    r"""The non-blank lines of a JSON-lines file (.gz allowed), bad ones with their fault.

    Lines end at "\\n" alone: text may hold U+2028 and its like.

    Raises:
        InvalidData: there is no such file, or it is damaged.
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
            raise InvalidData(f"{str(path)!r} is not a whole gzip file: {error}") from error


def _parse(number: int, line: bytes) -> Line:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except ValueError as error:
        return Line(number, None, f"line {number}: not JSON: {error}")
    if not isinstance(row, dict):
        return Line(number, None, f"line {number}: got {type(row).__name__}, expected an object")
    return Line(number, row, None)


def append_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Append objects and force them to the disk."""
    with path.open("a", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def drop_torn_line(path: Path) -> None:
    """Cut off a last line that a killed run left without its end."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
