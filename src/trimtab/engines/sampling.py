"""How a token is chosen, with noise that depends on nothing but a row's own seed, step and token."""

import hashlib
import secrets
from collections.abc import Sequence
from numbers import Integral

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trimtab.errors import InvalidSetting

MANTISSA_BITS = 53


def choose(
    steered: Float[Tensor, "rows k"],
    ids: Int[Tensor, "rows k"],
    temperature: float,
    keys: Int[Tensor, " rows"],
    step: int,
    greedy: Bool[Tensor, " rows"] | None = None,
) -> Int[Tensor, " rows"]:
    """The column of each row's choice: a sample of softmax(z' / temperature), by the Gumbel-max trick.

    Rows that are `greedy` take the best, as all do at temperature 0.

    The noise of a token is a function of (key, step, token id) alone: the draw is the same whatever else is in the
    batch and in whatever order the candidates stand, and without a device sync.
    """
    if temperature == 0:
        return steered.argmax(-1)
    noise = gumbel_noise(keys, step, ids)
    if greedy is not None:
        noise = noise.masked_fill(greedy[:, None], 0)
    return (steered.double() / temperature + noise).argmax(-1)


def gumbel_noise(keys: Int[Tensor, " rows"], step: int, ids: Int[Tensor, "rows k"]) -> Float[Tensor, "rows k"]:
    """Standard Gumbel noise, in float64, for each (row key, step, token id)."""
    bits = _scramble(_scramble(keys + _scramble_int(step))[:, None] + ids)
    uniform = (_shift_right(bits, 64 - MANTISSA_BITS).double() + 0.5) * 2.0**-MANTISSA_BITS
    return -(-uniform.log()).log()


def row_keys(seeds: Sequence[int], prompts: Sequence[Sequence[int]], n: int, device: torch.device) -> Tensor:
    """A 63-bit key for each of n samples of each prompt, from the prompt's seed, its tokens and the sample's number.

    The tokens are part of it so that one seed gives different prompts independent noise.
    """
    keys = [
        int.from_bytes(hashlib.blake2b(f"{seed}:{sample}:{list(ids)}".encode(), digest_size=8).digest()) >> 1
        for seed, ids in zip(seeds, prompts, strict=True)
        for sample in range(n)
    ]
    return torch.tensor(keys, device=device)


def resolve_seeds(seed: int | Sequence[int] | None, count: int) -> list[int]:
    """One seed a prompt: the given one for all, the given list, or fresh ones.

    Raises:
        InvalidSetting: a list of another length.
    """
    if seed is None:
        return [secrets.randbits(63) for _ in range(count)]
    if isinstance(seed, Integral):
        return [int(seed)] * count
    if not isinstance(seed, Sequence) or not all(isinstance(each, Integral) for each in seed):
        raise InvalidSetting(f"got seed={seed!r}, expected a whole number, or a list of them")
    if len(seed) != count:
        raise InvalidSetting(f"got {len(seed)} seeds, expected one, or one for each of {count} prompts")
    return [int(each) for each in seed]


def _scramble(x: Tensor) -> Tensor:
    """SplitMix64's finalizer (Steele, Lea & Flood 2014): a bijection of 64 bits with full avalanche."""
    x = (x ^ _shift_right(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shift_right(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shift_right(x, 31)


def _scramble_int(x: int) -> int:
    return _signed((x + 1) * 0x9E3779B97F4A7C15 % 2**64)


def _shift_right(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & (2 ** (64 - bits) - 1)


def _signed(x: int) -> int:
    return x - 2**64 if x >= 2**63 else x
