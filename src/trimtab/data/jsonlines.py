"""JSON-lines files: read with every bad line named, and append so that interrupted runs resume."""

import gzip
import os
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from trimtab.data.files import shown_path
from trimtab.data.json_text import dump_json, parse_json
from trimtab.data.outputs import kind_of
from trimtab.errors import InvalidData

STANDARD_STREAM = "-"


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


def read_lines(path: Path, torn: bool = True) -> Iterator[Line]:
    r"""Yield the lines of a JSON-lines file (.gz allowed) or of a pipe that are not blank.

    Only "\\n" ends a line: a text may contain U+2028 and other separators.

    Args:
        path: the file.
        torn: yield a last line that no "\\n" ends, too.

    Raises:
        InvalidData: there is no such file, it cannot be read, or it is a damaged gzip file.
    """
    if not is_file(path, or_pipe=True):
        raise InvalidData(f"got {shown_path(path)}, expected a JSON-lines file; {why_no_file(path)}")
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            yield from parse_lines(line for line in file if torn or line.endswith(b"\n"))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InvalidData(f"{shown_path(path)} is not a complete gzip file: {error}") from error
    except OSError as error:
        raise InvalidData(f"cannot read {shown_path(path)}: {error.strerror or error}") from error


def parse_lines(lines: Iterable[bytes]) -> Iterator[Line]:
    """Yield the lines of JSON lines, for example of standard input, that are not blank."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _parse(number, line)


def is_file(path: Path, or_pipe: bool = False) -> bool:
    """Return whether a path is a file that exists; False for a name that no file can have."""
    try:
        return path.is_file() or (or_pipe and path.is_fifo())
    except OSError:  # the name is too long, or a folder on the way cannot be entered
        return False


def check_input(path: Path) -> None:
    """Check that --input is a file, a pipe, or `-` for standard input.

    Raises:
        InvalidData: it is not.
    """
    if str(path) != STANDARD_STREAM and not is_file(path, or_pipe=True):
        raise InvalidData(f"got --input {shown_path(path)}, expected a JSON-lines file; {why_no_file(path)}")


def input_lines(source: Path) -> Iterator[Line]:
    """Return the lines of a file, a pipe, or `-`: standard input. Errors as in `read_lines`."""
    return parse_lines(sys.stdin.buffer) if str(source) == STANDARD_STREAM else read_lines(source)


def why_no_file(path: Path) -> str:
    """Return why a path is no file: what it is, or that there is nothing."""
    try:
        return f"it is {kind_of(path)}" if path.exists() else "there is no such file"
    except OSError:  # the name is too long, or a folder on the way cannot be entered
        return "there is no such file"


def _parse(number: int, line: bytes) -> Line:
    try:
        row = parse_json(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return Line(number, None, f"line {number}: not UTF-8: {error.reason} at byte {error.start}")
    except InvalidData as error:
        return Line(number, None, f"line {number}: {error}")
    if not isinstance(row, dict):
        return Line(number, None, f"line {number}: got {type(row).__name__}, expected an object")
    return Line(number, row, None)


def append_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Append objects to a file, and wait until the disk has them. If the disk is full, the file stays as it was.

    Raises:
        OSError: the file cannot be written; the message names it.
    """
    lines = "".join(dump_json(row) + "\n" for row in rows).encode("utf-8")
    size = path.stat().st_size if path.exists() else 0
    try:
        with path.open("ab", buffering=0) as file:
            _write_all(file.fileno(), lines)
            os.fsync(file.fileno())
    except OSError as error:
        if path.exists() and path.stat().st_size > size:
            os.truncate(path, size)
        raise OSError(error.errno, error.strerror, str(path)) from error


def _write_all(file: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]


def drop_torn_line(path: Path) -> None:
    """Remove an incomplete last line, which an interrupted run may leave."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
