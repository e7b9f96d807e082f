"""Facts about a run for the card of its reward: the command, the recipe and the machine, without absolute paths."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

import torch

from trimtab.models.frozen_lm import FrozenLM
from trimtab.training.distributed import processes
from trimtab.training.recipe import Recipe

PATH_KINDS = ("onnx:", "reward:")  # a path follows


def without_folders(name: str) -> str:
    """Return an absolute path as its last part; a relative path, a Hub id and any other text as they are."""
    path = PurePath(name)
    return path.name if path.is_absolute() and path.name else name


def command_line(words: Sequence[str]) -> str:
    """Return a command as typed, with absolute paths as their last parts, also behind --option= and onnx:."""
    return shlex.join(map(_without_folders, words))


def _without_folders(word: str) -> str:
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    kind, colon, path = value.partition(":") if value.startswith(PATH_KINDS) else ("", "", value)
    return option + equals + kind + colon + without_folders(path)


def resolved(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe with its learning rate filled in, without absolute paths."""
    start = recipe.start and without_folders(recipe.start)
    return {**asdict(recipe), "start": start, "learning_rate": recipe.resolved_learning_rate}


def machine(base: FrozenLM, recipe: Recipe) -> dict[str, Any]:
    """Return what changes the last digits of a run: number formats, the device and the number of processes."""
    on_gpu = base.device.type == "cuda"
    return {
        "computed_in": "bfloat16" if recipe.bf16 else "float32",
        "base_dtype": str(base.model.dtype).removeprefix("torch."),
        "device": torch.cuda.get_device_name(base.device) if on_gpu else base.device.type,
        "processes": processes().num_processes,
    }
