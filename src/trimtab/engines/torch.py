"""The torch engine: samples and scores with a `transformers` model in this process."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from trimtab.engines.base import Choice, Continuation, FinishReason, Request
from trimtab.engines.ending import Ending
from trimtab.engines.guide import rewards_of
from trimtab.engines.loop import DecodeLoop, Step
from trimtab.engines.scoring import reward_texts, score_continuations, score_packed
from trimtab.engines.settings import Sampling
from trimtab.engines.trace import trace_step
from trimtab.errors import InvalidPrompt, InvalidSetting
from trimtab.frozen.lm import FrozenLM
from trimtab.frozen.memory import Memory
from trimtab.frozen.packed import PackedTexts
from trimtab.steering.reward import Reward

ACCELERATOR_POLL = 8


@final
class TorchEngine:
    """Samples and scores with a `transformers` model in this process.

    Args:
        lm: the language model.
        memory: of what earlier calls encoded, so that only new tokens are; None keeps nothing between calls.
    """

    def __init__(self, lm: FrozenLM, memory: Memory | None = None):
        self.lm = lm
        self.memory = memory

    def sample(
        self, requests: Sequence[Request], n: int, max_tokens: int, sampling: Sampling, stop: Sequence[str] = ()
    ) -> list[list[Continuation]]:
        """n continuations of each request's prefix, all in one batch.

        Raises:
            InvalidSetting, InvalidPrompt, RewardMismatch: before anything is run.
        """
        watched = bool(stop) or any(request.until for request in requests)
        poll = 1 if watched or self.lm.device.type == "cpu" else ACCELERATOR_POLL
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
        ending = Ending(self.lm, limits, [request.until for request in requests for _ in range(n)], stop)
        loop = DecodeLoop(self.lm, requests, n, sampling, self.memory)
        active = list(range(len(limits)))
        while active:
            steps = [loop.step() for _ in range(min(poll, max(limits[row] - ending.length(row) for row in active)))]
            tokens = torch.stack([step.tokens for step in steps], dim=1).tolist()
            counts = {row: ending.take(row, new) for row, new in zip(active, tokens, strict=True)}
            ended = {row: reason for row in active if (reason := ending.reason(row)) is not None}
            yield Block(active, steps, counts, ended)
            going = [place for place, row in enumerate(active) if row not in ended]
            if ended and (going or self.memory):
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
        return min(max_tokens, room, request.limit or max_tokens)

    def score(
        self, prefixes: Sequence[Sequence[int]], choices: Sequence[Sequence[Sequence[int]]]
    ) -> list[Float[Tensor, " choices"]]:
        """The log-probability of each choice right after its prefix; each prefix is encoded once.

        Args:
            prefixes: token ids.
            choices: for each prefix, its choices, each one or more token ids.
        """
        owners = [row for row, of_row in enumerate(choices) for _ in of_row]
        flat = [choice for of_row in choices for choice in of_row]
        if self.memory is None:
            scored = score_continuations(self.lm, prefixes, owners, flat).logprobs
        else:
            scored = score_packed(self.lm, prefixes, owners, flat, self.memory)
        return list(scored.split([len(of) for of in choices]))

    def states(self, texts: Sequence[Sequence[int]], last: Sequence[int]) -> list[Float[Tensor, "positions hidden"]]:
        """The hidden states of the last tokens of each text, behind two thirds of the layers."""
        packed = PackedTexts(self.lm.model, self.memory or Memory(0), texts, last)
        return [states.cpu() for states in packed.states(depth=2 * self.lm.layers // 3)]

    def rewards(self, reward: Reward, texts: Sequence[Sequence[int]]) -> Float[Tensor, "texts attributes"]:
        """The rewards of whole texts, unclamped."""
        return reward_texts(self.lm, reward, texts, self.memory)


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
