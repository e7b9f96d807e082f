"""The files of a job in an object store: copies on this machine, and each shard is stored when it is complete."""

import contextlib
import logging
import posixpath
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, final

from trimtab.data.object_store import ObjectFolder, url_of
from trimtab.errors import InvalidData, InvalidOutput, InvalidSetting
from trimtab.jobs.shards import ENDINGS, Shard, find_sources, target_name
from trimtab.jobs.target_path import has_content, settings_path

LOG = logging.getLogger(__name__)


class Staged(NamedTuple):
    """Where a job finds its files.

    Attributes:
        source: its shards.
        folder: receives the rows.
        finished: to be called with each shard whose rows are complete.
    """

    source: Path
    folder: Path
    finished: Callable[[Shard], None]


@contextlib.contextmanager
def staged(source: Path, folder: Path, replace: bool = False) -> Iterator[Staged]:
    """Yield where a job finds its files: those of this machine as they are, those of an object store as copies.

    Rows that the store has are fetched, so that the job resumes. A shard is stored when it is complete; at the end,
    also of an interrupted job, so are the rows of the others.

    Args:
        source, folder: as in `find_shards`, or URLs.
        replace: as in `FileTarget`; what the store has is then not fetched.

    Raises:
        InvalidData: the store gives no answer, or has no shards.
        InvalidOutput: the shards are in the folder, another job has written there since, or the rows cannot be stored;
            the message then says where they are.
        InvalidSetting: the library for the store is not installed, or two shards have the same name.
    """
    shards = _shards_of(source)
    output = _output_of(folder, shards)
    place = Path(tempfile.mkdtemp(prefix="trimtab-")).resolve()  # as the targets of shards are
    rows = None if output is None else StoredRows(output, place / "out", replace)
    try:
        here = source if shards is None else _fetched(shards, place / "in")
        if rows is None:
            yield Staged(here, folder, lambda shard: None)
        else:
            rows.fetch(here)
            try:
                yield Staged(here, rows.folder, rows.finished)
            finally:
                rows.store_all()
    except KeyboardInterrupt:
        if rows is not None and rows.failed:
            LOG.warning("the rows that are not stored are kept in %s", rows.folder)
        raise
    finally:
        if rows is None or not rows.failed:
            shutil.rmtree(place, ignore_errors=True)


def check_urls(source: Path, folder: Path) -> bool:
    """Whether an input or an output is in an object store. If so, its shards are looked up. Errors as in `staged`."""
    shards = _shards_of(source)
    output = _output_of(folder, shards)
    return shards is not None or output is not None


def _shards_of(source: Path) -> ObjectFolder | None:
    url = url_of(source)
    if url is None:
        return None
    found = ObjectFolder(url, "--input")
    names = [posixpath.basename(file) for file in found.files(ENDINGS)]
    if not names:
        raise InvalidData(f"got --input {url!r}, expected a folder with .jsonl files, or a pattern of such files")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidSetting(f"got several files {twice!r} of --input {url!r}, expected other names")
    return found


def _output_of(folder: Path, shards: ObjectFolder | None) -> ObjectFolder | None:
    url = url_of(folder)
    if url is None:
        return None
    found = ObjectFolder(url, "--output")
    if shards is not None and any(posixpath.dirname(file) == found.root for file in shards.files(ENDINGS)):
        raise InvalidOutput(f"got --output {url!r}, expected another folder than that of --input")
    return found


def _fetched(shards: ObjectFolder, to: Path) -> Path:
    for file in shards.files(ENDINGS):
        shards.fetch(file, to / posixpath.basename(file))
    return to


@final
class StoredRows:
    """Copies of the files of a job's rows, stored when they have changed.

    Args:
        output: where they are stored.
        folder: the copies.
        replace: whether what the store has may be replaced, whoever wrote it.

    Attributes:
        failed: whether rows could not be stored.
    """

    def __init__(self, output: ObjectFolder, folder: Path, replace: bool):
        self.output, self.folder, self.replace = output, folder, replace
        self.failed = False
        self._replaced: set[str] = set()  # files of another run that the store may have
        self._stored: dict[Path, int] = {}
        self._settings: dict[Path, bytes] = {}  # as the store had them

    def fetch(self, source: Path) -> None:
        """Copy the rows of each shard of a folder, and their settings, as far as the store has them."""
        names = {target_name(each) for each in find_sources(source)}
        if self.replace:
            self._replaced = names
            return
        for name in names:
            target = self.folder / name
            if self.output.fetch(self.output.path_of(name), target):
                self._stored[target] = target.stat().st_mtime_ns
            settings = settings_path(target)
            if self.output.fetch(self.output.path_of(settings.name), settings):
                self._settings[settings] = settings.read_bytes()

    def finished(self, shard: Shard) -> None:
        """Store a shard's rows and their settings.

        Raises:
            InvalidOutput: as in `staged`.
        """
        if has_content(shard.target):  # a shard may have no prompt that can be written
            self._store(shard.target)

    def store_all(self) -> None:
        """Store all rows that the store does not have yet; whatever interrupts it, the copies stay.

        Raises:
            InvalidOutput: as in `staged`.
        """
        failed, self.failed = self.failed, True
        for file in sorted(self.folder.glob("*.jsonl")):
            if has_content(file) and self._stored.get(file) != file.stat().st_mtime_ns:
                self._store(file)
        self.failed = failed

    def _store(self, target: Path) -> None:
        try:
            self._check_ours(target)
            self._remove_replaced()
            self.output.store(settings_path(target))  # first: rows without settings would be refused
            self.output.store(target)
        except (InvalidData, InvalidOutput) as error:
            self.failed = True
            raise InvalidOutput(f"{error}; the rows are kept in {str(self.folder)!r}") from error
        self._stored[target] = target.stat().st_mtime_ns
        self._settings[settings_path(target)] = settings_path(target).read_bytes()

    def _remove_replaced(self) -> None:
        """Remove the rows of another run before the first ones are stored: together they could not be resumed."""
        for name in sorted(self._replaced):
            self.output.remove(self.output.path_of(name))
            self._replaced.remove(name)

    def _check_ours(self, target: Path) -> None:
        """Refuse to store over rows that another job has written since this one began."""
        if self.replace:
            return
        settings = settings_path(target)
        theirs = self.folder.with_name("theirs") / settings.name
        if not self.output.fetch(self.output.path_of(settings.name), theirs):
            return
        if theirs.read_bytes() not in (settings.read_bytes(), self._settings.get(settings)):
            raise InvalidOutput(
                f"another job has written {settings.name!r} in {self.output.url!r} since this one began"
            )
