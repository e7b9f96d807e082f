"""The torch engine: one decode loop over a shared, forked KV cache."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trimtab.engines.base import Choice, Continuation, FinishReason, Request
from trimtab.engines.guide import Guide, RewardTable, rewards_of
from trimtab.engines.sampling import choose, row_keys
from trimtab.engines.settings import Sampling
from trimtab.errors import InvalidPrompt, InvalidSetting
from trimtab.frozen.cache import PrefixCache
from trimtab.frozen.lm import FrozenLM
from trimtab.steering.rule import Candidates, top_candidates

ACCELERATOR_POLL = 8
TRACE_WIDTH = 64


class Step(NamedTuple):
    """One turn of the loop, all rows at once; tensors stay where the model is."""

    tokens: Int[Tensor, " rows"]
    columns: Int[Tensor, " rows"]
    candidates: Candidates
    base_logprobs: Float[Tensor, "rows k"]
    steered: Float[Tensor, "rows k"]
    rewards: RewardTable


@final
class DecodeLoop:
    """A batch being written: `step` chooses a token for every row, `keep` drops rows that are done.

    Args:
        lm: the language model.
        requests: what to continue.
        n: samples of each request; they share its prompt's cache.
        sampling: how tokens are chosen.
    """

    def __init__(self, lm: FrozenLM, requests: Sequence[Request], n: int, sampling: Sampling):
        steers = [request.steer for request in requests]
        depths = {depth for reward in rewards_of(steers) if (depth := reward.reads(lm.model)) is not None}
        batch = lm.batch([request.prefix for request in requests])
        self._sampling = sampling
        self._host = PrefixCache(lm.model, depths)
        self._guide = Guide(steers, lm.device, self._host)
        self._logits = self._host.feed(batch.ids, batch.mask).logits[:, -1].float()
        self._guide.prefill(batch)
        self._chosen: tuple[Tensor, Tensor] | None = None
        self._steps = 0
        if n > 1:
            self._fork(torch.arange(len(requests), device=lm.device).repeat_interleave(n))
        seeds, prefixes = [request.seed for request in requests], [request.prefix for request in requests]
        self._keys = row_keys(seeds, prefixes, n, lm.device)

    def step(self) -> Step:
        """Choose the next token of every row; no device sync."""
        if self._chosen is not None:
            self._advance(*self._chosen)
        candidates = top_candidates(self._logits, self._sampling.top_k, self._sampling.top_p)
        steered, rewards = self._guide.steer(candidates, self._logits)
        columns = choose(steered, candidates.ids, self._sampling.temperature, self._keys, self._steps)
        tokens = candidates.ids.gather(1, columns[:, None]).squeeze(1)
        base_logprobs = self._logits.gather(1, candidates.ids) - self._logits.logsumexp(-1, keepdim=True)
        self._chosen = tokens, columns
        self._steps += 1
        return Step(tokens, columns, candidates, base_logprobs, steered, rewards)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, which become row 0, 1, …."""
        kept = torch.tensor(rows, device=self._logits.device)
        self._fork(kept)
        self._keys = self._keys[kept]
        if self._chosen is not None:
            tokens, columns = self._chosen
            self._chosen = tokens[kept], columns[kept]

    def _advance(self, tokens: Int[Tensor, " rows"], columns: Int[Tensor, " rows"]) -> None:
        self._guide.advance(tokens, columns)
        self._logits = self._host.feed(tokens[:, None]).logits[:, -1].float()

    def _fork(self, rows: Int[Tensor, " selected"]) -> None:
        self._host.select(rows)
        self._guide.select(rows)
        self._logits = self._logits[rows]


@final
class TorchEngine:
    """Samples and scores with a `transformers` model in this process.

    Args:
        lm: the language model.
    """

    def __init__(self, lm: FrozenLM):
        self.lm = lm

    def sample(
        self, requests: Sequence[Request], n: int, max_tokens: int, sampling: Sampling, stop: Sequence[str] = ()
    ) -> list[list[Continuation]]:
        """N continuations of each request's prefix, all in one batch.

        Raises:
            InvalidSetting, InvalidPrompt, RewardMismatch: before anything is run.
        """
        poll = 1 if stop or self.lm.device.type == "cpu" else ACCELERATOR_POLL
        choices: list[list[Choice]] = [[] for _ in range(len(requests) * n)]
        reasons: list[FinishReason] = ["length"] * len(choices)
        for block in self.blocks(requests, n, max_tokens, sampling, stop, poll):
            for row, written in block.choices().items():
                choices[row] += written
            reasons = [block.ended.get(row, reason) for row, reason in enumerate(reasons)]
        done = [Continuation(tuple(written), reason) for written, reason in zip(choices, reasons, strict=True)]
        return [done[start : start + n] for start in range(0, len(done), n)]

    @torch.inference_mode()
    def blocks(
        self, requests: Sequence[Request], n: int, max_tokens: int, sampling: Sampling, stop: Sequence[str], poll: int
    ) -> "Iterator[Block]":
        """The one loop, in blocks of `poll` tokens a row; `sample` and `stream` fold over it."""
        limits = self._limits(requests, max_tokens, n, sampling)
        ending = Ending(self.lm, limits, stop)
        loop = DecodeLoop(self.lm, requests, n, sampling)
        active = list(range(len(limits)))
        while active:
            steps = [loop.step() for _ in range(min(poll, max(limits[row] - ending.length(row) for row in active)))]
            tokens = torch.stack([step.tokens for step in steps], dim=1).tolist()
            counts = {row: ending.take(row, new) for row, new in zip(active, tokens, strict=True)}
            ended = {row: reason for row in active if (reason := ending.reason(row)) is not None}
            yield Block(active, steps, counts, ended)
            going = [place for place, row in enumerate(active) if row not in ended]
            if ended and going:
                loop.keep(going)
            active = [active[place] for place in going]

    def _limits(self, requests: Sequence[Request], max_tokens: int, n: int, sampling: Sampling) -> list[int]:
        """How many tokens each row may take, everything checked that can be before the work starts."""
        if not requests or n < 1 or max_tokens < 1:
            raise InvalidSetting(
                f"got {len(requests)} prompts, n={n}, max_new_tokens={max_tokens}, expected at least 1 of each"
            )
        sampling.check_vocabulary(self.lm.vocabulary_size)
        return [self._limit(request, max_tokens, sampling) for request in requests for _ in range(n)]

    def _limit(self, request: Request, max_tokens: int, sampling: Sampling) -> int:
        rooms = [self.lm.context_length]
        for reward in rewards_of([request.steer]):
            reward.check_serves(self.lm.tokenizer_fingerprint)
            reward.check_candidates(sampling.top_k)
            rooms.append(reward.context_length - reward.extra_tokens)
        room = min(rooms) - len(request.prefix)
        if room < 1 or not request.prefix:
            raise InvalidPrompt(f"got a prompt of {len(request.prefix)} tokens, expected 1 to {min(rooms) - 1}")
        return min(max_tokens, room)

    @torch.inference_mode()
    def score(
        self, prefixes: Sequence[Sequence[int]], choices: Sequence[Sequence[Sequence[int]]]
    ) -> list[Float[Tensor, " choices"]]:
        """The log-probability of each choice right after its prefix; each prefix is encoded once.

        Args:
            prefixes: token ids.
            choices: for each prefix, its choices, each one or more token ids.
        """
        cache = PrefixCache(self.lm.model)
        batch = self.lm.batch(prefixes)
        first = cache.feed(batch.ids, batch.mask).logits[:, -1].float().log_softmax(-1)
        owner = [row for row, of_row in enumerate(choices) for _ in of_row]
        flat = [list(choice) for of_row in choices for choice in of_row]
        rows = torch.tensor(owner, device=self.lm.device)
        scores = _continue_logprobs(cache, first[rows], rows, flat)
        return list(scores.split([len(of_row) for of_row in choices]))


@dataclass(frozen=True)
class Block:
    """Some steps of the loop.

    Attributes:
        rows: which row of the request each row of the tensors is.
        steps: the steps.
        counts: how many of the steps' tokens belong to each row; after its end it has none.
        ended: why the rows that ended did.
    """

    rows: list[int]
    steps: list[Step]
    counts: dict[int, int]
    ended: dict[int, FinishReason]

    def choices(self) -> dict[int, list[Choice]]:
        """The tokens of each row with what they were chosen from, on the CPU."""
        written: dict[int, list[Choice]] = {row: [] for row in self.rows}
        for number, step in enumerate(self.steps):
            for row, choice in zip(self.rows, trace_step(step), strict=True):
                if number < self.counts[row]:
                    written[row].append(choice)
        return written


@final
class Ending:
    """What each row has written so far, and whether that ends it: EOS, a stop string, or its limit."""

    def __init__(self, lm: FrozenLM, limits: Sequence[int], stop: Sequence[str]):
        self._lm, self._limits, self._stop = lm, limits, [s for s in stop if s]
        self._tokens: list[list[int]] = [[] for _ in limits]
        self._reasons: dict[int, FinishReason] = {}
        self._window = max((len(s.encode()) for s in self._stop), default=0) + 8

    def length(self, row: int) -> int:
        """How many tokens a row has."""
        return len(self._tokens[row])

    def reason(self, row: int) -> FinishReason | None:
        """Why a row ended; None while it goes on."""
        return self._reasons.get(row)

    def take(self, row: int, tokens: Sequence[int]) -> int:
        """Append tokens up to the row's end; returns how many were taken."""
        for count, token in enumerate(tokens, start=1):
            self._tokens[row].append(token)
            if (reason := self._why(row, token)) is not None:
                self._reasons[row] = reason
                return count
        return len(tokens)

    def _why(self, row: int, token: int) -> FinishReason | None:
        if token in self._lm.eos_token_ids:
            return "eos"
        if self._stop and any(s in self._lm.decode(self._tokens[row][-self._window :]) for s in self._stop):
            return "stop"
        return "length" if self.length(row) >= self._limits[row] else None


def trace_step(step: Step) -> list[Choice]:
    """One step's choices, a row each, on the CPU; of more than TRACE_WIDTH candidates the best are kept."""
    logprobs = step.steered.log_softmax(-1)
    columns = step.columns[:, None]
    kept = None
    if step.steered.shape[1] > TRACE_WIDTH:
        best = step.steered.topk(TRACE_WIDTH - 2, dim=-1).indices
        kept = torch.cat([best, step.base_logprobs.argmax(-1, keepdim=True), columns], dim=1)
        columns = torch.full_like(columns, TRACE_WIDTH - 1)
    ids, base, steered = (_narrow(of, kept) for of in (step.candidates.ids, step.base_logprobs, logprobs))
    rewards = {name: _narrow(of, kept) for name, of in step.rewards.items()}
    return [
        Choice(token, column, ids[row], base[row], steered[row], {name: of[row] for name, of in rewards.items()})
        for row, (token, (column,)) in enumerate(zip(step.tokens.tolist(), columns.tolist(), strict=True))
    ]


def _narrow(values: Tensor, columns: Tensor | None) -> Tensor:
    if columns is None:
        return values.cpu()
    return values.gather(1, columns).cpu()


def _continue_logprobs(
    cache: PrefixCache, first: Float[Tensor, "choices vocabulary"], rows: Tensor, choices: list[list[int]]
) -> Float[Tensor, " choices"]:
    """Sum the log-probabilities of each choice's tokens: the first from the prefix, the rest in one forward a token."""
    width = max(map(len, choices))
    padded = torch.tensor([choice + choice[-1:] * (width - len(choice)) for choice in choices], device=first.device)
    lengths = torch.tensor([len(choice) for choice in choices], device=first.device)
    logprobs, total = first, first.new_zeros(len(choices))
    if width > 1:
        cache.select(rows)
    for place in range(width):
        token = padded[:, place : place + 1]
        total = total + logprobs.gather(1, token).squeeze(1) * (place < lengths)
        if place + 1 < width:
            logprobs = cache.feed(token).logits[:, -1].float().log_softmax(-1)
    return total
