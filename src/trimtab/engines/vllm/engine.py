"""The vLLM engine: writes and scores with vLLM in this process, under the same rule and noise as the torch engine."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, final

import torch
from jaxtyping import Float
from torch import Tensor

from trimtab.checking import checked, shown
from trimtab.engines.base import Capability, Choice, Chunk, Continuation, Request, Scored, collect, raise_fault
from trimtab.engines.engine_names import check_engine
from trimtab.engines.request_limit import request_limit
from trimtab.engines.torch.engine import TorchEngine
from trimtab.engines.vllm.likelihoods import forced_choices, measured, scored
from trimtab.engines.vllm.request_pool import RequestPool
from trimtab.engines.vllm.row_rewards import check_steers
from trimtab.engines.vllm.running_requests import RunningRequests
from trimtab.engines.vllm.starting import check_options, start_vllm
from trimtab.errors import InvalidSetting
from trimtab.models.codec import TokenizerCodec
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.usage import Usage
from trimtab.steering.reward import Reward
from trimtab.steering.steer import Steer

if TYPE_CHECKING:
    from vllm.v1.engine.llm_engine import LLMEngine


@final
@checked
class VllmEngine:
    """Writes and scores with vLLM, which runs in this process.

    Threads may share it: they take turns, one step of all their requests each.

    A text is the one that the torch engine writes with the same seed: in float32, up to ties that rounding breaks.
    Rewards of the Q-head steer. Rewards that read every candidate, experts, and drafts are refused.

    The model is in memory twice: vLLM's copy writes; the copy of the torch engine gives rewards the weights that they
    share, and computes `rewards` of whole texts and `states`.

    Args:
        base: the language model, as the torch engine has it; vLLM loads the same weights in the same dtype.
        options: fields of vLLM's `EngineArgs`, such as `max_model_len`, `max_num_seqs` or `enforce_eager`; and `taps`,
            the depths whose hidden states rewards may read. Default: evenly spaced ones, and those of bundled rewards.

    Raises:
        InvalidSetting: vLLM is not installed, or an option is one that trimtab sets.
        UnsupportedModel: vLLM cannot run the model.
    """

    capabilities: frozenset[Capability] = frozenset({"score", "read", "rewards", "states"})

    def __init__(self, base: FrozenLM, options: Mapping[str, object] = MappingProxyType({})):
        check_engine("vllm")
        check_options(options)
        self._set(RequestPool(start_vllm(base, options)), TorchEngine(base), Usage())

    def _set(self, pool: RequestPool, torch_engine: TorchEngine, usage: Usage) -> None:
        self._pool, self._torch, self._usage = pool, torch_engine, usage

    @property
    def llm_engine(self) -> "LLMEngine":
        """vLLM's own engine; requests that are added to it directly run beside ours."""
        return self._pool.engine

    @property
    def base(self) -> FrozenLM:
        """The copy of the model that rewards share."""
        return self._torch.base

    @property
    def codec(self) -> TokenizerCodec:
        """Prompts to token ids, token ids to text."""
        return self.base.codec

    @property
    def vocabulary_size(self) -> int:
        """How many logits the model returns."""
        return self.base.vocabulary_size

    @property
    def usage(self) -> Usage:
        """Tokens and forward calls so far; tokens of prompts count also where vLLM's prefix cache has them."""
        return self._usage.copy()

    def describe(self) -> dict[str, str]:
        """The model, its fingerprints, dtype and device; the engine is "vllm"."""
        return {**self._torch.describe(), "engine": "vllm"}

    def session(self) -> "VllmEngine":
        """The same engine with a usage count of its own. vLLM's prefix cache serves all sessions."""
        session = object.__new__(VllmEngine)
        session._set(self._pool, self._torch, Usage(parent=self._usage))
        return session

    def sample(self, requests: Sequence[Request]) -> list[list[Continuation]]:
        """The n continuations of each request, written as one batch.

        Raises:
            InvalidSetting, InvalidPrompt, RewardMismatch, UnsupportedByEngine: before anything runs.
            NonFiniteReward, NonFiniteLogits: a row's reward or logits are NaN or infinite; the message names the row.
        """
        return collect(requests, self.stream(requests))

    def stream(self, requests: Sequence[Request]) -> Iterator[list[Chunk]]:
        """The same continuations, token by token. Errors as in `sample`, before the first token."""
        return self._chunks(requests, self.limits(requests))

    def start_batch(self) -> RunningRequests:
        """An empty batch whose requests may come and go; `limits` gives what its `add` needs."""
        return RunningRequests(self._pool, self.base, self._usage)

    def _chunks(self, requests: Sequence[Request], limits: Sequence[int]) -> Iterator[list[Chunk]]:
        batch = self.start_batch()
        try:
            batch.add(requests, limits)
            while batch.active:
                chunks = batch.step()
                yield chunks
                raise_fault(requests, chunks)
        finally:
            batch.close()

    def limits(self, requests: Sequence[Request]) -> list[int]:
        """How many tokens each request may have; everything that can be checked before the work starts is checked.

        Raises:
            InvalidSetting: no requests, more candidates than there are tokens, drafts, which vLLM cannot steer, or a
                reward that reads a depth whose hidden states the model does not keep.
            InvalidPrompt: a prefix is empty, or leaves no room in the context of the model or of a reward.
            RewardMismatch: a reward was made for another tokenizer.
            UnsupportedByEngine: a reward that only the torch engine steers by.
        """
        if not requests:
            raise InvalidSetting("got no prompts, expected at least one")
        return [self._limit(request) for request in requests]

    def _limit(self, request: Request) -> int:
        if (name := request.params.speculate) is not None:
            raise InvalidSetting(f"got speculate={shown(name)} with the engine vllm, expected none; use engine='torch'")
        check_steers(request.steer, self.base, self._pool.kept_depths)
        return request_limit(request, self.codec, self.vocabulary_size, self._pool.context_length)

    def score(
        self,
        prefixes: Sequence[Sequence[int]],
        continuations: Sequence[Sequence[Sequence[int]]],
        steer: Steer | None = None,
        top_k: int | None = None,
        max_kl: float | None = None,
    ) -> list[Scored]:
        """The likelihood of each continuation right after its prefix; arguments as in `Engine.score`.

        With a steer, it takes a step per token. Without one, one forward call reads a text (vLLM's prompt log-probs),
        which finds nothing in the prefix cache; single tokens, as judges ask for, take one step, which does.

        Raises:
            InvalidSetting, UnsupportedByEngine: of the steer, as in `limits`.
            InvalidPrompt: prefix and continuation leave no room in the context.
            NonFiniteReward, NonFiniteLogits: a reward or the language model gives NaN.
        """
        check_steers(steer, self.base, self._pool.kept_depths)
        owners = [list(prefix) for prefix, of_row in zip(prefixes, continuations, strict=True) for _ in of_row]
        flat = [tokens for of_row in continuations for tokens in of_row]
        self._usage.count(sum(map(len, owners)) + sum(map(len, flat)))
        if steer is None and any(len(tokens) > 1 for tokens in flat):
            logprobs, greedy = measured(self._pool, owners, flat)
            found = Scored(torch.tensor(logprobs), torch.tensor(greedy))
        else:
            width = 1 if steer is None else top_k  # the best candidate tells whether a token is the most likely one
            choices = forced_choices(self._pool, self.base, owners, flat, steer, width, max_kl)
            found = scored(choices, steered=steer is not None)
        counts = [len(of_row) for of_row in continuations]
        return [Scored(*each) for each in zip(found.logprobs.split(counts), found.greedy.split(counts), strict=True)]

    def read(
        self,
        texts: Sequence[Sequence[int]],
        steer: Steer | None = None,
        top_k: int | None = None,
        max_kl: float | None = None,
    ) -> list[tuple[Choice, ...]]:
        """The choice of each token of each text but the first, a step per token; see `Engine.read`.

        Raises:
            InvalidSetting, UnsupportedByEngine: of the steer, as in `limits`.
            InvalidPrompt: a text is longer than the context.
            NonFiniteReward, NonFiniteLogits: a reward or a logit is NaN or infinite.
        """
        check_steers(steer, self.base, self._pool.kept_depths)
        self._usage.count(sum(map(len, texts)))
        first, rest = [text[:1] for text in texts], [text[1:] for text in texts]
        return forced_choices(self._pool, self.base, first, rest, steer, top_k, max_kl)

    def rewards(self, reward: Reward, texts: Sequence[Sequence[int]]) -> Float[Tensor, "texts attributes"]:
        """The rewards of whole texts, unclamped, by the torch engine's copy of the model."""
        return self._torch.rewards(reward, texts)

    def states(self, texts: Sequence[Sequence[int]], last: Sequence[int]) -> list[Float[Tensor, "positions hidden"]]:
        """The hidden states of the last tokens of each text, two thirds up the layers, by the torch engine's copy."""
        return self._torch.states(texts, last)
