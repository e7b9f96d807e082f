"""A reward with another per-request state: its other ways to compute the same rewards, or one that is timed."""

from collections.abc import Callable
from typing import final

from trimtab.models.kv_cache import KVCache
from trimtab.models.side_network import Reader
from trimtab.steering.reward import Reward, RewardState


@final
class OtherState:
    """A reward whose states are made by a function. Everything else is the reward's own.

    Args:
        reward: the reward.
        start: makes a state from the language model's KV cache.
    """

    def __init__(self, reward: Reward, start: Callable[[KVCache | None], RewardState]):
        self._reward, self._start = reward, start

    @property
    def name(self) -> str:
        """The reward's name."""
        return self._reward.name

    @property
    def attributes(self) -> tuple[str, ...]:
        """The names of its columns."""
        return self._reward.attributes

    @property
    def extra_tokens(self) -> int:
        """Tokens that it puts before a prompt."""
        return self._reward.extra_tokens

    @property
    def pad_token_id(self) -> int:
        """The token id that pads a batch on the left."""
        return self._reward.pad_token_id

    @property
    def context_length(self) -> int:
        """The longest prefix that it can score, in tokens."""
        return self._reward.context_length

    def describe(self) -> dict[str, str]:
        """The reward in records of a run."""
        return self._reward.describe()

    def check_serves(self, tokenizer_fingerprint: str) -> None:
        """Check its tokenizer."""
        self._reward.check_serves(tokenizer_fingerprint)

    def check_candidates(self, k: int | None) -> None:
        """Check that it can score that many candidates."""
        self._reward.check_candidates(k)

    def reads(self, model: object) -> Reader | None:
        """The depth of the hidden state that it reads from the cache of `model`."""
        return self._reward.reads(model)

    def start(self, host: KVCache | None = None) -> RewardState:
        """A new state."""
        return self._start(host)
