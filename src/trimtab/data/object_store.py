"""Files in an object store such as S3, named by URL: listed, fetched and stored whole. fsspec speaks to the stores."""

import contextlib
import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final

from trimtab.data.hub import reason_of
from trimtab.data.visible import legible
from trimtab.errors import InvalidData, InvalidSetting, TrimtabError, out_of_memory

URL = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}(?!/)(.+)", re.DOTALL)
PATTERN = re.compile(r"[*?\[]")
THIS_MACHINE = ("file://", "local://")


def url_of(path: str | Path) -> str | None:
    """The URL that a path is, such as s3://bucket/folder; None for a path of this machine.

    pathlib turns the two slashes of a URL into one: both are read.
    """
    found = URL.fullmatch(str(path))
    return found and f"{found[1]}://{found[2]}"


@final
class ObjectFolder:
    """A folder of an object store, or the files of a pattern. A file that exists is no pattern.

    Args:
        url: as `url_of` returns it.
        option: who named it, for messages, such as "--input".

    Raises:
        InvalidSetting: no store is named so, the URL is a path of this machine, or the library that speaks to the store
            is not installed.
    """

    def __init__(self, url: str, option: str):
        self.url, self._option = url, option
        if url.startswith(THIS_MACHINE):
            raise InvalidSetting(
                f"got {option} {url!r}, expected an object store; for this machine give the path itself"
            )
        try:
            from fsspec import url_to_fs

            with self._faults():
                self._store, root = url_to_fs(url)
        except ImportError as error:
            raise InvalidSetting(
                f"got {option} {url!r}, expected the library for it (S3: pip install 'trimtab[s3]'; {error})"
            ) from error
        self.root = str(root).rstrip("/")

    def files(self, endings: Sequence[str]) -> list[str]:
        """The files with one of some endings: of the folder, or of the pattern; sorted by name.

        Raises:
            InvalidData: the store gives no answer.
        """
        with self._faults():
            self._store.invalidate_cache()
            if self._store.isfile(self.root):
                found: list[Any] = [self.root]
            elif PATTERN.search(self.root):
                found = self._store.glob(self.root)
            else:
                found = self._store.ls(self.root, detail=False) if self._store.isdir(self.root) else []
        return sorted(str(each) for each in found if str(each).endswith(tuple(endings)))

    def fetch(self, file: str, to: Path) -> bool:
        """Copy a file of the store to this machine; returns whether there is such a file.

        Raises:
            InvalidData: the store gives no answer.
        """
        with self._faults():
            if not self._store.exists(file):
                return False
            to.parent.mkdir(parents=True, exist_ok=True)
            self._store.get_file(file, str(to))
        return True

    def store(self, file: Path) -> None:
        """Copy a file of this machine into the folder, under its own name. It is there whole, or as it was.

        Raises:
            InvalidData: the store does not take it.
        """
        with self._faults():
            self._store.makedirs(self.root, exist_ok=True)
            self._store.put_file(str(file), self.path_of(file.name))

    def remove(self, file: str) -> None:
        """Remove a file of the store, if it is there.

        Raises:
            InvalidData: the store does not let it go.
        """
        with self._faults():
            if self._store.exists(file):
                self._store.rm_file(file)

    def path_of(self, name: str) -> str:
        """The path of a file of the folder in the store."""
        return posixpath.join(self.root, name)

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """Turn what a store raises into InvalidData: each library has exceptions of its own."""
        try:
            yield
        except (TrimtabError, ImportError):
            raise
        except Exception as error:
            if out_of_memory(error):
                raise
            reason = legible(reason_of(error), keep="")
            raise InvalidData(f"got {self._option} {self.url!r}, expected a place that answers ({reason})") from error
