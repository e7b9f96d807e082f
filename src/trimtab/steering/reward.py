"""The protocol of a reward model: what it must offer so that an engine can steer by it."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor

from trimtab.errors import TrimtabError
from trimtab.models.kv_cache import KVCache
from trimtab.models.side_network import Reader


@runtime_checkable
class RewardState(Protocol):
    """The per-request half of a reward: a batch of prefixes whose next tokens it scores.

    The verbs are those of grammar matchers, which engines already use.
    """

    def prefill(self, ids: Int[Tensor, "rows slots"], mask: Bool[Tensor, "rows slots"]) -> None:
        """Start from prompts, left-padded; False in `mask` is padding."""

    def rewards(self, candidates: Int[Tensor, "rows k"] | None) -> Float[Tensor, "rows k attributes"]:
        """Score next tokens; None asks for the whole vocabulary, in order."""

    def advance(self, tokens: Int[Tensor, " rows"], choice: Int[Tensor, " rows"] | None = None) -> None:
        """Append a token to every prefix.

        Args:
            tokens: the tokens.
            choice: the column of each among the candidates last scored, if known.
        """

    def select(self, rows: Int[Tensor, " selected"]) -> None:
        """Make row i what row `rows[i]` was: fork, re-order or drop prefixes."""

    def join(self, other: "RewardState") -> None:
        """Append the rows of another state of the same reward."""

    def rollback(self, tokens: int) -> None:
        """Take back the last `tokens` tokens of every prefix."""


@runtime_checkable
class ScoresDrafts(Protocol):
    """A state that scores several tokens of every prefix at once: then its rows can be written by speculation."""

    def extend(self, tokens: Int[Tensor, "rows new"], mask: Bool[Tensor, "rows new"]) -> None:
        """Append several tokens to every prefix; False in `mask` is padding on the right, which is retracted next."""

    def draft_rewards(
        self, candidates: Int[Tensor, "rows places k"] | None, places: int
    ) -> Float[Tensor, "rows places k attributes"]:
        """Score next tokens behind each of the last tokens of `extend`.

        Args:
            candidates: the tokens to score in each place; None for the whole vocabulary, in order.
            places: how many of the last tokens; the last place is the whole prefix.
        """

    def retract(self, tokens: Sequence[int]) -> None:
        """Take back the last tokens of each prefix, of each its own number, fewer than `extend` appended."""


@runtime_checkable
class SkipsDrafts(Protocol):
    """A state on the steered model's own hidden states that may be too slow to be asked at every drafted token.

    Attributes:
        skips_drafts: whether it is, so that drafts are made without it.
    """

    skips_drafts: bool


@runtime_checkable
class ExplainsFaults(Protocol):
    """A state that returns NaN for a row on purpose, and says why. Only that row ends."""

    def fault(self, row: int) -> TrimtabError | None:
        """Why the row has no rewards since `rewards` was called; None if it has, or if nobody knows."""


@runtime_checkable
class Reward(Protocol):
    """A reward that an engine can steer by: immutable, shared by all requests."""

    @property
    def name(self) -> str:
        """Its name in a trace."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """The names of its columns."""

    def describe(self) -> dict[str, str]:
        """The reward in records of a run: `reward`, `source` (what loads it) and `fingerprint` (of its weights)."""

    @property
    def extra_tokens(self) -> int:
        """Tokens that it puts before a prompt: 1 if it prepends BOS, else 0."""

    @property
    def pad_token_id(self) -> int:
        """The token id that pads a batch on the left."""

    @property
    def context_length(self) -> int:
        """The longest prefix that it can score, in tokens."""

    def check_serves(self, tokenizer_fingerprint: str) -> None:
        """Raise RewardMismatch if it was made for another tokenizer."""

    def check_candidates(self, k: int | None) -> None:
        """Raise InvalidSetting if it cannot score that many candidates (None: the whole vocabulary)."""

    def start(self, host: KVCache | None = None) -> RewardState:
        """A new state. It may read the hidden states of `host`, the KV cache of the steered model."""

    def reads(self, model: object) -> Reader | None:
        """What it reads from the cache of `model`, which then is its host; None if it runs its own trunk."""
