"""A reward of another tokenizer, at once: the text is encoded again at every step, in the reward's own tokens. Slow."""

from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trimtab.checking import checked
from trimtab.errors import InvalidPrompt, InvalidSetting, RewardMismatch
from trimtab.models.detokenizer import whole_text
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.kv_cache import KVCache
from trimtab.models.prefix_cache import PrefixCache
from trimtab.rewards.card import RewardCard
from trimtab.rewards.reward_model import RewardModel
from trimtab.rewards.single_term import steer_by
from trimtab.rewards.text_scores import TextScorer
from trimtab.steering.reward import RewardState
from trimtab.steering.steer import Clamp, Steer


@final
class RetokenizedReward:
    """A reward with a V-head that steers a language model of another tokenizer. It is slow: see Any model in the docs.

    A V-head scores text. At each step every candidate is decoded behind the text so far, and the whole text is encoded
    by the reward's own tokenizer. Only tokens that differ from those of the last step run through the trunk, all of
    them in one forward.

    The score is that of the text as it stands. Three rules follow:

    * A character whose bytes are not complete is not part of the text yet.
    * EOS and other special tokens have no text: behind a text they have its score.
    * An empty text is the token that opens a text.

    The text ends where the candidate ends, also within a word that the reward's tokenizer would not cut there.

    Args:
        original: the reward, on its own base.
        lm: the language model to steer.

    Raises:
        InvalidSetting: the reward has another head, which scores tokens.
    """

    def __init__(self, original: RewardModel, lm: FrozenLM):
        original.card.check_scores_texts(original.name)
        self.original, self.lm = original, lm

    def __repr__(self) -> str:
        return f"RetokenizedReward({self.original!r}, for {self.lm.name})"

    @property
    def name(self) -> str:
        """The reward's name in traces and messages."""
        return self.original.name

    @property
    def attributes(self) -> tuple[str, ...]:
        """The names of the rewards, in the order of their columns."""
        return self.original.attributes

    @property
    def card(self) -> RewardCard:
        """The card of the reward."""
        return self.original.card

    @property
    def base(self) -> FrozenLM:
        """The language model whose layers score, with its tokenizer: not the one that is steered."""
        return self.original.base

    @property
    def fingerprint(self) -> str:
        """A hash of the reward's own weights."""
        return self.original.fingerprint

    def describe(self) -> dict[str, str]:
        """The reward in records of a run, and the hash of the tokenizer whose texts it encodes again."""
        return self.original.describe() | {"retokenized_for": self.lm.codec.fingerprint}

    @property
    def extra_tokens(self) -> int:
        """1 if the reward reads BOS before a text, else 0."""
        return self.original.extra_tokens

    @property
    def pad_token_id(self) -> int:
        """The token of the language model that pads a batch on the left."""
        return self.lm.pad_token_id

    @property
    def context_length(self) -> int:
        """The longest prefix in the language model's tokens. A text may still be too long in the reward's tokens."""
        return self.lm.context_length + self.extra_tokens

    @checked
    def toward(
        self, beta: float, attribute: str | None = None, clamp: Clamp | None = None, min_entropy: float = 0.0
    ) -> Steer:
        """A steer towards high rewards. Arguments and errors as in `RewardModel.toward`."""
        return steer_by(self, self.card, beta, attribute, clamp, min_entropy, away=False)

    @checked
    def away(
        self, beta: float, attribute: str | None = None, clamp: Clamp | None = None, min_entropy: float = 0.0
    ) -> Steer:
        """A steer towards low rewards. Arguments and errors as in `RewardModel.toward`."""
        return steer_by(self, self.card, beta, attribute, clamp, min_entropy, away=True)

    def check_serves(self, tokenizer_fingerprint: str) -> None:
        """Check that a language model has the tokenizer whose texts are encoded again.

        Raises:
            RewardMismatch: it has another one.
        """
        if tokenizer_fingerprint != (loaded_for := self.lm.codec.fingerprint):
            raise RewardMismatch(
                f"reward {self.name!r} was loaded for texts of the tokenizer {loaded_for} (of {self.lm.name}), the "
                f"language model has {tokenizer_fingerprint}; load it for that model: "
                f"trimtab.reward({self.original.source!r}, lm, retokenize=True)"
            )

    def check_candidates(self, k: int | None) -> None:
        """Check the candidates per step. Arguments and errors as in `RewardModel.check_candidates`."""
        self.original.check_candidates(k)

    def reads(self, model: object) -> None:
        """None: no hidden state of the steered model tells what another tokenizer makes of its text."""

    def start(self, host: KVCache | None = None) -> RewardState:
        """A fresh per-request state. If `host` has a prefix cache and a usage count, they serve the trunk too."""
        return RetokenizedState(self, host)


@final
class RetokenizedState:
    """The prefixes of a batch in the language model's tokens. Their texts alone decide the rewards.

    What was encoded is found again by the reward's tokens, in a prefix cache. So forks, joins and rollbacks change
    lists of tokens only, and a row that was taken back costs nothing anew.
    """

    def __init__(self, reward: RetokenizedReward, host: KVCache | None = None):
        kept = PrefixCache() if host is None or host.prefix_cache is None else host.prefix_cache
        self._codec, self._name, self._attributes = reward.lm.codec, reward.name, len(reward.attributes)
        self._scorer = TextScorer(reward.original, kept, None if host is None else host.usage)
        self._rows: list[list[int]] = []
        self._faults: dict[int, InvalidPrompt] = {}

    def prefill(self, ids: Int[Tensor, "rows slots"], mask: Bool[Tensor, "rows slots"]) -> None:
        """Take prompts. They are encoded when their candidates are."""
        self._rows = [row[known].tolist() for row, known in zip(ids, mask, strict=True)]

    def rewards(self, candidates: Int[Tensor, "rows k"] | None) -> Float[Tensor, "rows k attributes"]:
        """Score the text behind each prefix and candidate, in one forward. NaN in a row that `fault` explains.

        Each prefix is scored with its candidates, so that the prefix cache keeps it even if there is one candidate.

        Raises:
            InvalidSetting: candidates is None.
        """
        if candidates is None:
            raise InvalidSetting("a V-head scores each candidate with a forward of its own: expected a finite top_k")
        self._faults, encoded = {}, {}
        for row, (ids, tokens) in enumerate(zip(self._rows, candidates.tolist(), strict=True)):
            try:
                encoded[row] = self._encode(ids, tokens)
            except InvalidPrompt as error:
                self._faults[row] = InvalidPrompt(f"the reward {self._name!r} cannot read the text so far: {error}")
        shape = (*candidates.shape, self._attributes)
        rewards = torch.full(shape, torch.nan, device=candidates.device)
        if encoded:
            scored = self._scorer.score_ids([text for texts in encoded.values() for text in texts])
            scored = scored.view(len(encoded), shape[1] + 1, -1)[:, 1:]
            rewards[list(encoded)] = scored.to(rewards.device)
        return rewards

    def _encode(self, ids: list[int], candidates: list[int]) -> list[list[int]]:
        """The reward's tokens of a prefix, and of the prefix with each candidate behind it."""
        texts = [whole_text(self._codec, [*ids, *end]) for end in [[], *([token] for token in candidates)]]
        return self._scorer.encode(texts)

    def fault(self, row: int) -> InvalidPrompt | None:
        """Why a row has no rewards since `rewards` was called: its text is longer than the reward's context."""
        return self._faults.get(row)

    def advance(self, tokens: Int[Tensor, " rows"], choice: Int[Tensor, " rows"] | None = None) -> None:
        """Append a token to every prefix."""
        for ids, token in zip(self._rows, tokens.tolist(), strict=True):
            ids.append(token)

    def select(self, rows: Int[Tensor, " selected"]) -> None:
        """Fork, re-order or drop prefixes."""
        self._rows = [list(self._rows[row]) for row in rows.tolist()]

    def rollback(self, tokens: int) -> None:
        """Take back the last tokens of every prefix.

        Raises:
            InvalidSetting: the shortest prefix would have no token left.
        """
        held = min(map(len, self._rows), default=1)
        if not 0 <= tokens < held:
            raise InvalidSetting(
                f"got a rollback of {tokens} tokens, expected 0 to {held - 1}, one short of the shortest row"
            )
        self._rows = [ids[: len(ids) - tokens] for ids in self._rows]

    def join(self, other: RewardState) -> None:
        """Append the prefixes of another state of the same reward."""
        assert isinstance(other, RetokenizedState)
        self._rows += [list(ids) for ids in other._rows]
