"""The torch engine: samples and scores with a `transformers` model in this process."""

from collections.abc import Iterator, Sequence
from typing import final

from jaxtyping import Float
from torch import Tensor

from trimtab.engines.base import Capability, Chunk, Continuation, Request, Scored, collect
from trimtab.engines.torch.running_batch import RunningBatch
from trimtab.engines.torch.scoring import reward_texts, score_continuations, score_packed
from trimtab.errors import InvalidPrompt, InvalidSetting
from trimtab.models.codec import TokenizerCodec
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.packed_texts import PackedTexts
from trimtab.models.prefix_cache import PrefixCache
from trimtab.models.usage import Usage
from trimtab.steering.reward import Reward
from trimtab.steering.steer import Steer, distinct_rewards

ACCELERATOR_POLL = 8  # tokens between two looks at the device


@final
class TorchEngine:
    """Samples and scores with a `transformers` model in this process.

    It may be used from several threads: they take turns, one decode step at a time.

    Args:
        base: the language model.
        prefix_cache: keeps what calls encode, so that later calls encode new tokens only; None keeps nothing.
        usage: counts tokens and forward calls; default: a new count.
    """

    capabilities: frozenset[Capability] = frozenset({"score", "rewards", "states"})

    def __init__(self, base: FrozenLM, prefix_cache: PrefixCache | None = None, usage: Usage | None = None):
        self.base = base
        self.prefix_cache = prefix_cache
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
        """The model, its fingerprint, dtype and device."""
        return {
            "engine": "torch",
            "model": self.base.name,
            "base_fingerprint": self.base.base_fingerprint,
            "dtype": str(self.base.model.dtype).removeprefix("torch."),
            "device": str(self.base.device),
        }

    def session(self) -> "TorchEngine":
        """The same model with a usage count of its own, and a prefix cache of its own unless there is one.

        What the session uses counts for this engine too.
        """
        return TorchEngine(self.base, self.prefix_cache or PrefixCache(), Usage(parent=self._usage))

    def sample(self, requests: Sequence[Request]) -> list[list[Continuation]]:
        """The n continuations of each request, written as one batch.

        Raises:
            InvalidSetting, InvalidPrompt, RewardMismatch: before anything runs.
        """
        watched = any(request.params.stop or request.until for request in requests)
        poll = 1 if watched or self.base.device.type == "cpu" else ACCELERATOR_POLL
        return collect(requests, self._chunks(requests, self.limits(requests), poll))

    def stream(self, requests: Sequence[Request]) -> Iterator[list[Chunk]]:
        """The same continuations, token by token. Errors as in `sample`, before the first token."""
        return self._chunks(requests, self.limits(requests), 1)

    def _chunks(self, requests: Sequence[Request], limits: Sequence[int], poll: int) -> Iterator[list[Chunk]]:
        batch = RunningBatch(self.base, self.prefix_cache, self._usage)
        batch.add(requests, limits)
        while batch.active:
            yield batch.step(poll)

    def limits(self, requests: Sequence[Request]) -> list[int]:
        """How many tokens each request may have; everything that can be checked before the work starts is checked.

        Raises:
            InvalidSetting: no requests, or more candidates than there are tokens or than a reward can score.
            InvalidPrompt: a prefix is empty, or leaves no room in the context of the model or of a reward.
            RewardMismatch: a reward was made for another tokenizer.
        """
        if not requests:
            raise InvalidSetting("got no prompts, expected at least one")
        return [self._limit(request) for request in requests]

    def _limit(self, request: Request) -> int:
        request.params.check_vocabulary(self.vocabulary_size)
        rooms = [self.codec.context_length]
        for reward in distinct_rewards([request.steer]):
            reward.check_serves(self.codec.fingerprint)
            reward.check_candidates(request.params.top_k)
            rooms.append(reward.context_length - reward.extra_tokens)
        room = min(rooms) - len(request.prefix)
        if room < 1 or not request.prefix:
            raise InvalidPrompt(f"got a prompt of {len(request.prefix)} tokens, expected 1 to {min(rooms) - 1}")
        return min(request.params.max_new_tokens, room)

    def score(
        self,
        prefixes: Sequence[Sequence[int]],
        continuations: Sequence[Sequence[Sequence[int]]],
        steer: Steer | None = None,
        top_k: int | None = None,
    ) -> list[Scored]:
        """The likelihood of each continuation right after its prefix; each prefix is encoded once.

        Args:
            prefixes: token ids.
            continuations: for each prefix its continuations, one or more tokens each.
            steer: None for the model's own probabilities.
            top_k: with a steer, the candidates per step; a continuation's token that is not among them is added.
        """
        owners = [row for row, of_row in enumerate(continuations) for _ in of_row]
        flat = [continuation for of_row in continuations for continuation in of_row]
        with self.base.lock:
            if self.prefix_cache is not None and steer is None:
                scored = score_packed(self.base, prefixes, owners, flat, self.prefix_cache, self._usage)
            else:
                scored = score_continuations(self.base, prefixes, owners, flat, steer, top_k, self._usage)
        counts = [len(of_row) for of_row in continuations]
        return [Scored(*each) for each in zip(scored.logprobs.split(counts), scored.greedy.split(counts), strict=True)]

    def rewards(self, reward: Reward, texts: Sequence[Sequence[int]]) -> Float[Tensor, "texts attributes"]:
        """The rewards of whole texts, unclamped."""
        with self.base.lock:
            return reward_texts(self.base, reward, texts, self.prefix_cache, self._usage)

    def states(self, texts: Sequence[Sequence[int]], last: Sequence[int]) -> list[Float[Tensor, "positions hidden"]]:
        """The hidden states of the last tokens of each text, two thirds up the layers."""
        with self.base.lock:
            packed = PackedTexts(self.base.model, self.prefix_cache or PrefixCache(0), texts, last, self._usage)
            return [states.cpu() for states in packed.states(depth=2 * self.base.layers // 3)]
