"""The seam between steering and rewards: what a reward model must offer to be steered by."""

from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor

from trimtab.frozen.cache import PrefixCache


@runtime_checkable
class RewardState(Protocol):
    """The per-request half of a reward: a batch of prefixes whose next tokens it scores.

    The verbs are those of grammar matchers' states, because engines already speak them.
    """

    def prefill(self, ids: Int[Tensor, "rows slots"], mask: Bool[Tensor, "rows slots"]) -> None:
        """Start from prompts, left-padded; False in `mask` is padding."""

    def rewards(self, candidates: Int[Tensor, "rows k"] | None) -> Float[Tensor, "rows k attributes"]:
        """Score next tokens; None asks for the whole vocabulary, in order."""

    def advance(self, tokens: Int[Tensor, " rows"], choice: Int[Tensor, " rows"] | None = None) -> None:
        """Append a token to every prefix.

        Args:
            tokens: the tokens.
            choice: where each stands among the candidates last scored, if the caller knows.
        """

    def select(self, rows: Int[Tensor, " selected"]) -> None:
        """Make row i what row `rows[i]` was: forks, re-orders and drops prefixes."""

    def rollback(self, tokens: int) -> None:
        """Take back the last `tokens` tokens of every prefix."""


@runtime_checkable
class Reward(Protocol):
    """The shared half of a reward: immutable, used by any number of requests at once."""

    @property
    def name(self) -> str:
        """What to call it in a trace."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """The names of its columns."""

    @property
    def extra_tokens(self) -> int:
        """How many tokens it puts before a prompt: 1 where it prepends BOS, else 0."""

    @property
    def pad_token_id(self) -> int:
        """What fills the left of a batch of its tokens."""

    @property
    def context_length(self) -> int:
        """The longest prefix that it can score, in tokens."""

    def check_serves(self, tokenizer_fingerprint: str) -> None:
        """Raise RewardMismatch if its tokens are not those of that tokenizer."""

    def check_candidates(self, k: int | None) -> None:
        """Raise InvalidSetting if it cannot score that many candidates (None: the whole vocabulary)."""

    def start(self, host: PrefixCache | None = None) -> RewardState:
        """A fresh state; one that can read the hidden states of `host`, the steered model's own cache, may do so."""

    def reads(self, model: object) -> int | None:
        """The depth of the hidden state it would read from the cache of `model`; None if it runs its own trunk."""
