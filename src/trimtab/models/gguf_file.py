"""Convert a GGUF file to a folder that transformers can load, once."""

import contextlib
import hashlib
import logging
import os
import re
from pathlib import Path

from trimtab.data.files import FULL, read_record, shown_path, why_not_written
from trimtab.data.folders import whole_folder
from trimtab.data.hub import reason_of
from trimtab.data.json_text import dump_json
from trimtab.data.outputs import write_whole
from trimtab.data.tables import hash_of_file
from trimtab.data.visible import legible
from trimtab.errors import InvalidOutput, ModelNotFound, out_of_memory
from trimtab.models.gguf_tensors import write_model

MAGIC = b"GGUF"
SOURCE = "source.json"  # in the folder: of which bytes it was made
KEY_LENGTH = 12  # hexadecimal digits of the hash in a folder's name
LOG = logging.getLogger(__name__)  # shown on stderr unless the user configures logging


def cache_folder() -> Path:
    """The folder of converted models: TRIMTAB_CACHE, or `trimtab` in the user's cache folder."""
    if chosen := os.environ.get("TRIMTAB_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trimtab"


def converted(gguf: Path) -> Path:
    """The folder with a GGUF file's weights, dequantized to float32. It is made on first use.

    It is renamed into place when it is complete, so an interrupted conversion leaves no broken model behind. A file in
    whose place another one of the same size and time has come is noticed, and converted again.

    Raises:
        ModelNotFound: the file is no GGUF file, or is damaged.
        InvalidOutput: the cache folder cannot be written, for example because the disk is full.
    """
    facts = gguf.stat()  # seconds, because a layer of a container image keeps no fractions
    key = hashlib.sha256(f"{gguf.resolve()}:{facts.st_size}:{int(facts.st_mtime)}".encode()).hexdigest()[:KEY_LENGTH]
    folder = cache_folder() / "models" / f"{gguf.stem}-{key}"
    if not os.path.isdir(folder) or not _is_of(folder, gguf):  # unlike Path.is_dir, it raises nothing below a file
        _check_magic(gguf)
        LOG.warning("%s", legible(f"Converting {gguf.name} once, into {folder}", keep=""))  # it takes a while
        _convert(gguf, folder)
    return folder


def earlier_conversion(name: str) -> Path | None:
    """The folder of a GGUF file that was converted here before, by the file's last name; the newest of several."""
    of_name = re.compile(re.escape(Path(name).stem) + f"-[0-9a-f]{{{KEY_LENGTH}}}")
    try:
        found = [path for path in (cache_folder() / "models").iterdir() if of_name.fullmatch(path.name)]
        return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)
    except OSError:  # nothing was converted, or the folder cannot be read
        return None


def _is_of(folder: Path, gguf: Path) -> bool:
    """Whether a folder was converted from a file as it is now.

    No program sets a file's time of change, so where it is the recorded one, the bytes need not be read. Folders of
    earlier versions have no record: they get one.
    """
    changed, record = gguf.stat().st_ctime_ns, read_record(folder / SOURCE)
    if record.get("changed") == changed:
        return True
    digest = hash_of_file(gguf)
    if record and record.get("sha256") != digest:
        return False
    with contextlib.suppress(OSError):  # a cache that may not be written: the bytes are read again next time
        _write_source(folder, changed, digest)
    return True


def _write_source(folder: Path, changed: int, digest: str) -> None:
    write_whole(folder / SOURCE, dump_json({"changed": changed, "sha256": digest}) + "\n")


def _convert(gguf: Path, folder: Path) -> None:
    try:
        with whole_folder(folder, replace=os.path.isdir(folder)) as partial:
            changed, digest = gguf.stat().st_ctime_ns, hash_of_file(gguf)
            _dequantize(gguf, partial)
            _write_source(partial, changed, digest)
    except OSError as error:
        raise _not_written(folder, error) from error


def _check_magic(gguf: Path) -> None:
    with gguf.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ModelNotFound(f"cannot load a language model from {str(gguf)!r}: it is not a GGUF file")


def _dequantize(gguf: Path, folder: Path) -> None:
    try:
        write_model(gguf, folder)
    except Exception as error:  # the file is foreign, and each library that reads it raises exceptions of its own
        if out_of_memory(error):
            raise
        if why_not_written(error) == FULL:
            raise _not_written(folder.parent, error) from error
        raise ModelNotFound(
            f"cannot load a language model from {str(gguf)!r}: the GGUF file is damaged, or of a kind that cannot be "
            f"converted ({reason_of(error)})"
        ) from error


def _not_written(folder: Path, error: Exception) -> InvalidOutput:
    return InvalidOutput(
        f"cannot write the converted model in {shown_path(folder)}: {why_not_written(error)}; free some space, or set "
        "TRIMTAB_CACHE to another folder"
    )
