"""The file of a reward's weights: written with its hash, read only if it is whole and finite."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from trimtab.checking import shown
from trimtab.data.files import shown_path
from trimtab.data.hub import reason_of
from trimtab.data.outputs import set_new_mode
from trimtab.errors import CorruptReward, TrainingDiverged
from trimtab.models.fingerprints import exact_fingerprint

SEAL = "numbers"  # the key of the hash in the file's metadata


def save_weights(tensors: Mapping[str, Tensor], path: Path) -> tuple[str, str]:
    """Write weights to a safetensors file; returns their dtype and the file's SHA-256, as the card records them.

    Raises:
        TrainingDiverged: a weight is not finite; nothing is written.
    """
    if bad := first_non_finite(tensors):
        raise TrainingDiverged(
            f"got a weight in {shown(bad)} that is not finite, expected finite numbers to save; train the reward again "
            "with a lower learning rate, or save it in a wider dtype"
        )
    save_file(dict(tensors), path)
    set_new_mode(path)
    return " and ".join(sorted({str(weight.dtype).removeprefix("torch.") for weight in tensors.values()})), sha256(path)


def read_weights(path: Path, expected_sha256: str | None = None) -> dict[str, Tensor]:
    """Read a file of weights.

    Args:
        path: the safetensors file.
        expected_sha256: the hash in the card; None to compare no hash.

    Raises:
        CorruptReward: the file is missing or damaged, has another hash, or holds a number that is not finite.
    """
    again = "fetch or train the reward again"
    if path.exists() and not path.is_file():  # a pipe would wait for a writer
        raise CorruptReward(f"cannot read {shown_path(path)}: it is no regular file; {again}")
    try:
        if expected_sha256 is not None and (found := sha256(path)) != expected_sha256:
            raise CorruptReward(
                f"{shown_path(path)} is damaged: got SHA-256 {found[:16]}…, expected {expected_sha256[:16]}… "
                f"as its card says; {again}"
            )
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CorruptReward(f"cannot read {shown_path(path)}: {reason_of(error)}; {again}") from error
    if bad := first_non_finite(tensors):
        raise CorruptReward(
            f"{shown_path(path)} is damaged: the tensor {shown(bad)} has a number that is not finite; {again}"
        )
    return tensors


def save_sealed(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors to a safetensors file that holds the hash of their numbers, for files without a card."""
    save_file(dict(tensors), path, metadata={SEAL: _seal_of(tensors)})


def read_sealed(path: Path) -> dict[str, Tensor]:
    """Read a file that `save_sealed` wrote.

    Raises:
        CorruptReward: as `read_weights`; or the numbers are not those that were written.
    """
    tensors = read_weights(path)
    with safe_open(path, "pt") as file:
        recorded = (file.metadata() or {}).get(SEAL)
    if recorded != _seal_of(tensors):
        raise CorruptReward(f"{shown_path(path)} is damaged: its numbers do not have the hash that it records")
    return tensors


def _seal_of(tensors: Mapping[str, Tensor]) -> str:
    return exact_fingerprint(dict(sorted(tensors.items())))


def first_non_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor with NaN or an infinite number; None if all numbers are finite."""
    return next((name for name in sorted(tensors) if not bool(tensors[name].isfinite().all())), None)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
