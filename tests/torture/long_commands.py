"""Commands that work for a while and resume: what is run, what is compared, and which facts may differ."""

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torture.tables.values import EVALUATE, GENERATE_FILE, LABELS, REWIND_FILE

COMMANDS: dict[str, tuple[str, ...]] = {
    "train": (*LABELS, "--epochs", "3", "--checkpoints", "3"),
    "generate": (*GENERATE_FILE, "--n", "12", "--batch-size", "1", "--steer", "rewards/q=5"),
    "rewind": (*REWIND_FILE, "--batch-size", "1"),
    "evaluate": (
        *EVALUATE,
        "--limit",
        "6",
        "--samples",
        "8",
        "--reward",
        "rewards/q",
        "--beta",
        "5",
        "--batch-size",
        "2",
    ),
}
INPUTS = ("lm", "rewards", "prompts.jsonl", "labels.jsonl")
# Facts that differ between two runs that are the same, by their key, and why.
MAY_DIFFER = {
    "seconds": "the wall time",
    "peak_memory": "the memory of the process",
    "tokens_per_second": "the wall time",
}
SCRATCH_FILES = ("*.lock", "checkpoints/*")  # a lock is empty; checkpoints hold the wall time in pickles


def copy_inputs(world: Path, folder: Path) -> Path:
    """Copy what the commands read."""
    folder.mkdir(parents=True)
    for name in INPUTS:
        (shutil.copytree if (world / name).is_dir() else shutil.copy)(world / name, folder / name)
    return folder


def outputs(folder: Path) -> dict[str, str]:
    """The hash of each file that is not an input, without the facts that may differ."""
    found = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        scratch = any(relative.match(pattern) for pattern in SCRATCH_FILES) or "checkpoints" in relative.parts
        if path.is_file() and relative.parts[0] not in INPUTS and not scratch:
            found[str(relative)] = hashlib.sha256(content(path)).hexdigest()[:16]
    return found


def content(path: Path) -> bytes:
    """The bytes of a file; of JSON, the values that may not differ."""
    text = path.read_bytes()
    if path.suffix not in (".json", ".jsonl"):
        return text
    parts = text.splitlines() if path.suffix == ".jsonl" else [text]
    return json.dumps([lasting(json.loads(part)) for part in parts], sort_keys=True).encode()


def lasting(value: Any) -> Any:
    """A JSON value without the facts that may differ."""
    if isinstance(value, dict):
        return {key: lasting(each) for key, each in value.items() if key not in MAY_DIFFER}
    return [lasting(each) for each in value] if isinstance(value, list) else value


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """The files that are missing, new or different."""
    names: Iterable[str] = sorted(expected.keys() | found.keys())
    return [
        f"{name} ({'missing' if name not in found else 'new' if name not in expected else 'different'})"
        for name in names
        if expected.get(name) != found.get(name)
    ]
