"""Hashes of weights: of some numbers, of a sample of every tensor, of every number, of every byte."""

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from trimtab.data.json_text import dump_json
from trimtab.models.text_fingerprint import LENGTH

SAMPLE = 1024  # numbers of each tensor


def fingerprint_of(tensors: Mapping[str, Tensor]) -> str:
    """A hash of all numbers by name. It is the same for bfloat16 numbers and for the same numbers in float32."""
    digest = hashlib.sha256()
    for name, weight in sorted(tensors.items()):
        digest.update(name.encode() + weight.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()[:LENGTH]


def sample_fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """A hash of names, shapes and SAMPLE numbers of every tensor, equal in float32 and bfloat16.

    It finds every training that changes whole tensors, also a merged adapter, in milliseconds. A change of a few
    numbers may pass. The step between the sampled numbers is odd, so that they lie in different rows and columns.
    """
    samples = [weight.detach().reshape(-1)[:: weight.numel() // SAMPLE | 1].bfloat16() for weight in tensors.values()]
    return rounded_fingerprint(tensors, [torch.cat(samples)] if samples else [])


def rounded_fingerprint(tensors: Mapping[str, Tensor], numbers: Iterable[Tensor]) -> str:
    """A hash of names and shapes, and of some numbers, rounded to bfloat16.

    Args:
        tensors: give the names and shapes.
        numbers: the numbers.
    """
    shapes = [(name, list(weight.shape)) for name, weight in tensors.items()]
    digest = hashlib.sha256(dump_json(shapes).encode())
    for some in numbers:
        digest.update(some.detach().cpu().to(torch.bfloat16).view(torch.int16).numpy().tobytes())
    return digest.hexdigest()[:LENGTH]


def exact_fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """A hash of every byte, in the dtype of each tensor."""
    with ThreadPoolExecutor() as threads:  # hashing releases the interpreter's lock
        digests = list(threads.map(_digest_of, tensors.keys(), tensors.values()))
    return hashlib.sha256(b"".join(digests)).hexdigest()[:LENGTH]


def _digest_of(name: str, weight: Tensor) -> bytes:
    digest = hashlib.sha256(name.encode())
    digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.digest()
