"""How each row of a batch chooses its next token. The noise depends only on the row's own key, step and token."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trimtab.engines.base import Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.steering.repetition import ban_repeated_ngrams, penalize_repetition
from trimtab.steering.rule import Candidates, top_candidates

MANTISSA_BITS = 53
NO_TOP_P = 2.0  # no cumulative probability reaches it
NEAR = 1 << 16  # numbers that a CPU's cache keeps near: many operations over a whole vocabulary would fetch them again


@final
@dataclass
class RowSampling:
    """The sampling settings of the rows of a batch.

    Attributes:
        params: of each row.
        keys: 63-bit keys of the rows' noise.
        steps: tokens that each row has chosen so far.
        temperature: of each row; 1 where it is greedy.
        greedy: rows at temperature 0.
        top_k, top_p, max_kl, penalty, ngram: of each row, as tensors; a row without a limit has 0, 2, inf, 1 and 0.
    """

    params: tuple[SamplingParams, ...]
    keys: Int[Tensor, " rows"]
    steps: Int[Tensor, " rows"]
    temperature: Float[Tensor, " rows"]
    greedy: Bool[Tensor, " rows"]
    top_k: Int[Tensor, " rows"]
    top_p: Float[Tensor, " rows"]
    max_kl: Float[Tensor, " rows"]
    penalty: Float[Tensor, " rows"]
    ngram: Int[Tensor, " rows"]

    @classmethod
    def of(cls, requests: Sequence[Request], device: torch.device) -> "RowSampling":
        """The rows of some requests: the n samples of the first, then of the second, and so on.

        Args:
            requests: the requests.
            device: of the rows.
        """
        params = tuple(request.params for request in requests for _ in range(request.params.n))
        temperatures = [each.temperature for each in params]
        return cls(
            params,
            row_keys(requests, device),
            torch.tensor([len(each.written) for each in requests for _ in range(each.params.n)], device=device),
            torch.tensor([value or 1.0 for value in temperatures], dtype=torch.float64, device=device),
            torch.tensor([value == 0 for value in temperatures], device=device),
            torch.tensor([each.top_k or 0 for each in params], device=device),
            torch.tensor([each.top_p or NO_TOP_P for each in params], dtype=torch.float32, device=device),
            torch.tensor([_budget(each) for each in params], dtype=torch.float64, device=device),
            torch.tensor([each.repetition_penalty or 1.0 for each in params], dtype=torch.float32, device=device),
            torch.tensor([each.no_repeat_ngram_size or 0 for each in params], device=device),
        )

    @property
    def budget(self) -> Float[Tensor, " rows"] | None:
        """The `max_kl` of each row; None if no row has one."""
        return None if all(each.max_kl is None for each in self.params) else self.max_kl

    def constrained(
        self,
        logits: Float[Tensor, "rows vocabulary"],
        prefixes: Callable[[], tuple[Int[Tensor, "rows slots"], Bool[Tensor, "rows slots"]]],
    ) -> Float[Tensor, "rows vocabulary"]:
        """z: the model's logits after each row's constraints against repetition.

        Args:
            logits: the model's.
            prefixes: gives prompts and new tokens, left-padded, with their mask; called if a row is constrained.
        """
        if not self.constrains:
            return logits
        ids, mask = prefixes()
        if any(each.repetition_penalty is not None for each in self.params):
            logits = penalize_repetition(logits, ids, mask, self.penalty)
        for size in {each.no_repeat_ngram_size or 0 for each in self.params} - {0}:
            logits = ban_repeated_ngrams(logits, ids, mask, size, self.ngram == size)
        return logits

    def candidates(self, logits: Float[Tensor, "rows vocabulary"]) -> Candidates:
        """The candidates of each row. Rows with a top_k and rows without one cannot share a batch."""
        widths, nuclei = {each.top_k for each in self.params}, {each.top_p for each in self.params}
        widest = max((min(width, logits.shape[1]) for width in widths if width), default=None)
        same_p = next(iter(nuclei)) if len(nuclei) == 1 else self.top_p
        return top_candidates(logits, widest, same_p, self.top_k if len(widths) > 1 else None)

    def choose(self, steered: Float[Tensor, "rows k"], ids: Int[Tensor, "rows k"]) -> Int[Tensor, " rows"]:
        """The column of each row's next token, without a device sync; counts one more step.

        A sample of softmax(z' / temperature) by the Gumbel-max trick; the best candidate where the row is greedy.
        """
        columns = self.with_noise(steered, ids).argmax(-1)
        self.steps = self.steps + 1
        return columns

    def with_noise(self, steered: Float[Tensor, "rows k"], ids: Int[Tensor, "rows k"]) -> Float[Tensor, "rows k"]:
        """What the choice is the best of: z' / temperature and the noise of the next step; z' where a row is greedy."""
        if all(each.temperature == 0 for each in self.params):
            return steered
        noise = gumbel_noise(self.keys, self.steps, ids).masked_fill(self.greedy[:, None], 0)
        return tempered(steered, self.temperature[:, None]) + noise

    @property
    def constrains(self) -> bool:
        """Whether a row is constrained against repetition."""
        return any(each.repetition_penalty is not None or each.no_repeat_ngram_size for each in self.params)

    def in_places(self, places: int, depths: Int[Tensor, "rows places"] | None = None) -> "RowSampling":
        """Each row once for each of several next tokens, one after another, each at its own step.

        Args:
            places: how many tokens.
            depths: how many tokens are before each; default: each follows the one before it.
        """
        if places == 1:
            return self
        later = torch.arange(places, device=self.steps.device).repeat(len(self.params))
        return self.repeated(places).later(later if depths is None else depths.flatten())

    def repeated(self, times: int) -> "RowSampling":
        """Each row as many times, one after another."""
        return self.select([row for row in range(len(self.params)) for _ in range(times)])

    def later(self, steps: int | Int[Tensor, " rows"]) -> "RowSampling":
        """The rows when each has chosen some more tokens."""
        return replace(self, steps=self.steps + steps)

    def select(self, rows: Sequence[int]) -> "RowSampling":
        """Row i becomes what row `rows[i]` was."""
        index = torch.tensor(rows, dtype=torch.long, device=self.keys.device)
        return RowSampling(tuple(self.params[row] for row in rows), *(each[index] for each in self._tensors()))

    def join(self, other: "RowSampling") -> "RowSampling":
        """The rows of both."""
        pairs = zip(self._tensors(), other._tensors(), strict=True)
        return RowSampling(self.params + other.params, *(torch.cat(pair) for pair in pairs))

    def _tensors(self) -> tuple[Tensor, ...]:
        return (
            self.keys,
            self.steps,
            self.temperature,
            self.greedy,
            self.top_k,
            self.top_p,
            self.max_kl,
            self.penalty,
            self.ngram,
        )


def tempered(logits: Float[Tensor, "*rows k"], temperature: float | Tensor) -> Float[Tensor, "*rows k"]:
    """Logits, less the best of their row, divided by a temperature, in float64; no temperature makes them overflow."""
    behind = logits.double() - logits.double().amax(-1, keepdim=True)
    return behind / temperature


def gumbel_noise(
    keys: Int[Tensor, " rows"], steps: Int[Tensor, " rows"], ids: Int[Tensor, "rows k"]
) -> Float[Tensor, "rows k"]:
    """Standard Gumbel noise, in float64, for each (row key, step, token id)."""
    columns = max(1, NEAR // max(1, len(keys))) if ids.is_cpu else ids.shape[1]
    if ids.shape[1] > columns:
        return torch.cat([gumbel_noise(keys, steps, some) for some in ids.split(columns, dim=1)], dim=1)
    bits = _scramble(_scramble(keys + (steps + 1) * _signed(0x9E3779B97F4A7C15))[:, None] + ids)
    uniform = (_shift_right(bits, 64 - MANTISSA_BITS).double() + 0.5) * 2.0**-MANTISSA_BITS
    return -(-uniform.log()).log()


def row_keys(requests: Sequence[Request], device: torch.device) -> Int[Tensor, " rows"]:
    """A 63-bit key for each sample of each request, from the seed, the prefix and the number of the sample.

    The prefix is part of it so that one seed gives different prompts independent noise.
    """
    prefixes = [str(list(request.prefix)) for request in requests]
    records = [
        f"{request.params.seed}:{sample}:{prefix}".encode()
        for request, prefix in zip(requests, prefixes, strict=True)
        for sample in range(request.first_sample, request.first_sample + request.params.n)
    ]
    digests = (hashlib.blake2b(record, digest_size=8).digest() for record in records)
    return torch.tensor([int.from_bytes(digest) >> 1 for digest in digests], device=device)


def _budget(params: SamplingParams) -> float:
    return torch.inf if params.max_kl is None else params.max_kl


def _scramble(x: Tensor) -> Tensor:
    """SplitMix64's finalizer (Steele, Lea & Flood 2014): a bijection of 64 bits with full avalanche."""
    x = (x ^ _shift_right(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shift_right(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shift_right(x, 31)


def _shift_right(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & (2 ** (64 - bits) - 1)


def _signed(x: int) -> int:
    return x - 2**64 if x >= 2**63 else x
