"""The torch engine: samples and scores with a `transformers` model in this process."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from trimtab.checking import checked, shown
from trimtab.engines.base import Capability, Choice, Chunk, Continuation, Request, Scored, collect, raise_fault
from trimtab.engines.proposer import Proposer
from trimtab.engines.request_limit import request_limit
from trimtab.engines.torch.reading import read_texts
from trimtab.engines.torch.running_batch import PROPOSERS, RunningBatch
from trimtab.engines.torch.scoring import reward_texts, score_continuations, score_packed
from trimtab.errors import InvalidSetting, NonFiniteLogits
from trimtab.models.codec import TokenizerCodec
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.packed_texts import PackedTexts
from trimtab.models.prefix_cache import PrefixCache
from trimtab.models.usage import Usage
from trimtab.steering.reward import Reward
from trimtab.steering.steer import Steer

DRAFT = "draft"  # the name of drafts by a head or by another model
ACCELERATOR_POLL = 8  # tokens between two looks at the device


@final
@checked
class TorchEngine:
    """Samples and scores with a `transformers` model in this process.

    It may be used from several threads: they take turns, one decode step at a time.

    A text depends on its prompt, seed and settings only, and not on its batch: in float32, up to ties that rounding
    breaks. In bfloat16 rounding differs with the shape of a batch, and the law needs `batch_invariant`.

    Args:
        base: the language model.
        prefix_cache: keeps what calls encode, so that later calls encode new tokens only; None keeps nothing.
        usage: counts tokens and forward calls; default: a new count.
        batch_invariant: write and score one row at a time, without a prefix cache, so that texts and scores are the
            same to the bit alone, in every batch and in every session. A batch of n then takes the time of n single
            texts, and nothing is drafted.
        proposers: what drafts tokens, by the names that `SamplingParams.speculate` takes; "lookup" is always there.
    """

    capabilities: frozenset[Capability] = frozenset({"score", "read", "rewards", "states"})

    def __init__(
        self,
        base: FrozenLM,
        prefix_cache: PrefixCache | None = None,
        usage: Usage | None = None,
        batch_invariant: bool = False,
        proposers: Mapping[str, Proposer] = MappingProxyType({}),
    ):
        self.base = base
        self.proposers = {**PROPOSERS, **proposers}
        self.prefix_cache = None if batch_invariant else prefix_cache
        self.batch_invariant = batch_invariant
        self._usage = usage or Usage()

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
        """Tokens and forward calls so far."""
        return self._usage.copy()

    def describe(self) -> dict[str, str]:
        """The model, its fingerprints, dtype and device; "torch, batch-invariant" if it is."""
        return {
            "engine": "torch" + (", batch-invariant" if self.batch_invariant else ""),
            "model": self.base.name,
            "base_fingerprint": self.base.base_fingerprint,
            "weights_fingerprint": self.base.weights_fingerprint,
            "config_fingerprint": self.base.config_fingerprint,
            "tokenizer_fingerprint": self.codec.fingerprint,
            "chat_template_fingerprint": self.codec.chat_template_fingerprint,
            "dtype": self.base.dtype,
            "device": str(self.base.device),
        }

    def session(self) -> "TorchEngine":
        """The same model with a usage count of its own, and a prefix cache unless texts must be batch-invariant.

        What the session uses counts for this engine too.
        """
        cache = None if self.batch_invariant else self.prefix_cache or PrefixCache()
        return TorchEngine(self.base, cache, Usage(parent=self._usage), self.batch_invariant, self.proposers)

    def sample(self, requests: Sequence[Request]) -> list[list[Continuation]]:
        """The n continuations of each request, written as one batch.

        Raises:
            InvalidSetting, InvalidPrompt, RewardMismatch: before anything runs.
            NonFiniteReward, NonFiniteLogits: a row's reward or logits are NaN or infinite; the message names the row.
        """
        watched = any(request.params.stop or request.until for request in requests)
        poll = 1 if watched or self.base.device.type == "cpu" else ACCELERATOR_POLL
        return collect(requests, self._chunks(requests, self.limits(requests), poll))

    def stream(self, requests: Sequence[Request]) -> Iterator[list[Chunk]]:
        """The same continuations, token by token. Errors as in `sample`, before the first token."""
        return self._chunks(requests, self.limits(requests), 1)

    def start_batch(self) -> RunningBatch:
        """An empty batch whose requests may come and go; `limits` gives what its `add` needs."""
        return RunningBatch(self.base, self.prefix_cache, self._usage, self.batch_invariant, self.proposers)

    def _chunks(self, requests: Sequence[Request], limits: Sequence[int], poll: int) -> Iterator[list[Chunk]]:
        batch = self.start_batch()
        batch.add(requests, limits)
        while batch.active:
            chunks = batch.step(poll)
            yield chunks
            raise_fault(requests, chunks)

    def limits(self, requests: Sequence[Request]) -> list[int]:
        """How many tokens each request may have; everything that can be checked before the work starts is checked.

        Raises:
            InvalidSetting: no requests, more candidates than there are tokens or than a reward can score, or an unknown
                `speculate`.
            InvalidPrompt: a prefix is empty, or leaves no room in the context of the model or of a reward.
            RewardMismatch: a reward was made for another tokenizer.
        """
        if not requests:
            raise InvalidSetting("got no prompts, expected at least one")
        return [self._limit(request) for request in requests]

    def _limit(self, request: Request) -> int:
        self._check_speculate(request.params.speculate)
        return request_limit(request, self.codec, self.vocabulary_size)

    def _check_speculate(self, name: str | None) -> None:
        if name is None or name in self.proposers:
            return
        advice = "" if DRAFT in self.proposers else f"; {DRAFT} needs a draft head: see trimtab train draft --help"
        raise InvalidSetting(f"got speculate={shown(name)}, expected one of: {', '.join(self.proposers)}{advice}")

    def score(
        self,
        prefixes: Sequence[Sequence[int]],
        continuations: Sequence[Sequence[Sequence[int]]],
        steer: Steer | None = None,
        top_k: int | None = None,
        max_kl: float | None = None,
    ) -> list[Scored]:
        """The likelihood of each continuation right after its prefix; each prefix is encoded once.

        Args:
            prefixes: token ids.
            continuations: for each prefix its continuations, one or more tokens each.
            steer: None for the model's own probabilities.
            top_k: with a steer, the candidates per step; a continuation's token that is not among them is added.
            max_kl: the steer's budget, in nats per token; None for no budget.

        Raises:
            NonFiniteReward, NonFiniteLogits: a reward or the language model gives NaN.
        """
        if self.batch_invariant:
            return [
                _sound(self._scored_alone(prefix, of_prefix, steer, top_k, max_kl))
                for prefix, of_prefix in zip(prefixes, continuations, strict=True)
            ]
        owners = [row for row, of_row in enumerate(continuations) for _ in of_row]
        flat = [continuation for of_row in continuations for continuation in of_row]
        if self.prefix_cache is not None and steer is None:
            with self.base.lock:
                scored = score_packed(self.base, prefixes, owners, flat, self.prefix_cache, self._usage)
        else:
            scored = score_continuations(self.base, prefixes, owners, flat, steer, top_k, self._usage, max_kl)
        _sound(scored)
        counts = [len(of_row) for of_row in continuations]
        return [Scored(*each) for each in zip(scored.logprobs.split(counts), scored.greedy.split(counts), strict=True)]

    def _scored_alone(
        self,
        prefix: Sequence[int],
        continuations: Sequence[Sequence[int]],
        steer: Steer | None,
        top_k: int | None,
        max_kl: float | None,
    ) -> Scored:
        """Each continuation in a batch of its own."""
        alone = [
            score_continuations(self.base, [prefix], [0], [each], steer, top_k, self._usage, max_kl)
            for each in continuations
        ]
        return Scored(torch.cat([each.logprobs for each in alone]), torch.cat([each.greedy for each in alone]))

    def read(
        self,
        texts: Sequence[Sequence[int]],
        steer: Steer | None = None,
        top_k: int | None = None,
        max_kl: float | None = None,
    ) -> list[tuple[Choice, ...]]:
        """The choice of each token of each text but the first; see `Engine.read` and `read_texts`.

        Raises:
            NonFiniteReward, NonFiniteLogits: with a steer; a reward or a logit is NaN or infinite.
        """
        groups = [[text] for text in texts] if self.batch_invariant else [texts]
        found = [read_texts(self.base, each, steer, top_k, self._usage, max_kl) for each in groups]
        return [choices for of_group in found for choices in of_group]

    def rewards(self, reward: Reward, texts: Sequence[Sequence[int]]) -> Float[Tensor, "texts attributes"]:
        """The rewards of whole texts, unclamped."""
        groups = [[text] for text in texts] if self.batch_invariant else [texts]
        with self.base.lock:
            found = [reward_texts(self.base, reward, each, self.prefix_cache, self._usage) for each in groups]
        return torch.cat(found)

    def states(self, texts: Sequence[Sequence[int]], last: Sequence[int]) -> list[Float[Tensor, "positions hidden"]]:
        """The hidden states of the last tokens of each text, two thirds up the layers."""
        pairs = list(zip(texts, last, strict=True))
        groups = [[pair] for pair in pairs] if self.batch_invariant else [pairs]
        with self.base.lock:
            return [states.cpu() for group in groups for states in self._states(group)]

    def _states(self, group: Sequence[tuple[Sequence[int], int]]) -> list[Tensor]:
        texts, last = [text for text, _ in group], [count for _, count in group]
        packed = PackedTexts(self.base.model, self.prefix_cache or PrefixCache(0), texts, last, self._usage)
        return packed.states(depth=2 * self.base.layers // 3)


def _sound(scored: Scored) -> Scored:
    """The same. A continuation of probability 0 has −inf.

    Raises:
        NonFiniteLogits: one is NaN.
    """
    if bool(scored.logprobs.isnan().any()):
        raise NonFiniteLogits(
            "got a likelihood from the language model that is NaN, expected a number; load the model in float32, or "
            "fetch it again"
        )
    return scored
