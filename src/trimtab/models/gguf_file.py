"""Convert a GGUF file to a folder that transformers can load, once."""

import hashlib
import logging
import os
from pathlib import Path

from trimtab.data.folders import whole_folder
from trimtab.data.hub import reason_of
from trimtab.data.visible import legible
from trimtab.errors import ModelNotFound
from trimtab.models.gguf_tensors import write_model

MAGIC = b"GGUF"
LOG = logging.getLogger(__name__)  # shown on stderr unless the user configures logging


def cache_folder() -> Path:
    """The folder of converted models: TRIMTAB_CACHE, or `trimtab` in the user's cache folder."""
    if chosen := os.environ.get("TRIMTAB_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trimtab"


def converted(gguf: Path) -> Path:
    """The folder with a GGUF file's weights, dequantized to float32. It is made on first use.

    It is renamed into place when it is complete, so an interrupted conversion leaves no broken model behind.

    Raises:
        ModelNotFound: the file is no GGUF file, or is damaged.
    """
    facts = gguf.stat()
    key = hashlib.sha256(f"{gguf.resolve()}:{facts.st_size}:{facts.st_mtime_ns}".encode()).hexdigest()[:12]
    folder = cache_folder() / "models" / f"{gguf.stem}-{key}"
    if not folder.exists():
        _check_magic(gguf)
        LOG.warning("%s", legible(f"Converting {gguf.name} once, into {folder}", keep=""))  # it takes a while
        with whole_folder(folder) as partial:
            _dequantize(gguf, partial)
    return folder


def _check_magic(gguf: Path) -> None:
    with gguf.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ModelNotFound(f"cannot load a language model from {str(gguf)!r}: it is not a GGUF file")


def _dequantize(gguf: Path, folder: Path) -> None:
    try:
        write_model(gguf, folder)
    except Exception as error:  # the file is foreign, and each library that reads it raises exceptions of its own
        raise ModelNotFound(
            f"cannot load a language model from {str(gguf)!r}: the GGUF file is damaged, or of a kind that cannot be "
            f"converted ({reason_of(error)})"
        ) from error
