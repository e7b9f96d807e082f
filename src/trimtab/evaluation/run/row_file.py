"""The file of a row: its settings on the first line, then one line per text, batch by batch."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, final

from filelock import FileLock, Timeout

from trimtab.data.jsonlines import append_rows, drop_torn_line, read_lines
from trimtab.errors import InvalidData

SUFFIX = ".jsonl"


@final
class RowFile:
    """The file with the texts of one row.

    Args:
        path: the file; the first text creates it.
        settings: every setting that changes the texts.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]):
        self.path = path
        self.settings = json.loads(json.dumps(settings))

    @contextmanager
    def claimed(self) -> Iterator[bool]:
        """Hold the row's lock; yields False if another process holds it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path.with_name(f".{self.path.name}.lock"))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def resume(self, batches: Iterable[int]) -> int:
        """Count the batches in the file, and remove an unfinished one.

        Args:
            batches: the number of texts in each batch.

        Raises:
            InvalidData: the file was written with other settings.
        """
        drop_torn_line(self.path)
        if not self.path.exists() or not self.path.stat().st_size:
            append_rows(self.path, [{"settings": self.settings}])
        found, texts = read_row(self.path)
        if differing := differences(found, self.settings):
            raise InvalidData(
                f"{str(self.path)!r} was written with other settings ({differing}); remove it or choose another --out"
            )
        lines, whole, done = len(texts), 0, 0
        for batch in batches:
            if whole + batch > lines:
                break
            whole, done = whole + batch, done + 1
        if whole < lines:
            self._keep_lines(1 + whole)
        return done

    def append(self, texts: Iterable[dict[str, Any]]) -> None:
        """Append a batch, and force it to the disk."""
        append_rows(self.path, texts)

    def _keep_lines(self, count: int) -> None:
        with self.path.open("r+b") as file:
            kept = sum(len(line) for line in islice(file, count))
            file.truncate(kept)


def read_row(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read the settings and the texts of a row; an unfinished last line is left out.

    Raises:
        InvalidData: the file is not the file of a row, or is damaged.
    """
    lines = list(read_lines(path))
    if lines and lines[-1].fault:
        lines.pop()
    if fault := next((line.fault for line in lines if line.fault), None):
        raise InvalidData(f"{str(path)!r} is damaged: {fault}; remove it to write the row again")
    rows = [line.row for line in lines if line.row is not None]
    if not rows or not isinstance(rows[0].get("settings"), dict):
        raise InvalidData(f"{str(path)!r} is not the file of a row: its first line has no settings; move it elsewhere")
    return rows[0]["settings"], rows[1:]


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The settings that differ, as "name: there, here"; empty if all are equal."""
    names = [name for name in {**found, **wanted} if found.get(name) != wanted.get(name)]
    return "; ".join(f"{name}: {found.get(name)} there, {wanted.get(name)} here" for name in names)
