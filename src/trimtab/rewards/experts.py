"""Language models as a reward: an expert minus an anti-expert (DExperts, proxy-tuning), or one of them alone."""

from functools import cached_property
from pathlib import PurePath
from typing import final

from jaxtyping import Bool, Float, Int
from torch import Tensor

from trimtab.checking import checked, shown
from trimtab.errors import InvalidSetting, RewardMismatch
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.kv_cache import KVCache
from trimtab.models.text_fingerprint import text_fingerprint
from trimtab.rewards.expert_names import ATTRIBUTE, check_expert_attribute, check_lm_head
from trimtab.rewards.log_probs import LogProbState
from trimtab.rewards.reward_model import RewardModel
from trimtab.steering.reward import RewardState
from trimtab.steering.steer import Clamp, Steer, Term

Expert = FrozenLM | RewardModel  # a reward with an LM head, which is a language model of its own


@final
class Experts:
    """Language models of the steered model's tokenizer as a reward of next tokens, in nats.

        r(v | x) = log p_expert(v | x) − log p_anti(v | x)

    Steer with β = the papers' α: `experts.toward(2.0)` is z + α (z_expert − z_anti) on the candidates, up to a constant
    that the softmax ignores. DExperts (2105.03023) trains both from one model, on texts with and without the attribute.
    Proxy-tuning (2401.08565) has a small tuned model as the expert, the same model before tuning as the anti-expert,
    and α = 1.

    * The expert alone: r = log p_expert(v | x), as in GenARM (2410.08193). The text is sampled from the product of the
      base and the expert, whose view of fluency counts too.
    * The anti-expert alone: r = −log p_anti(v | x). Whatever the anti-expert would say is avoided, common words
      included: use a small β.

    Rewards are not clamped. Each expert costs one forward of one token per step, and a KV cache.

    Differs from the papers: the base's top-k is cut before experts are added. DExperts cuts the base's top-p there;
    proxy-tuning cuts nothing, as `top_k=None`.

    Args:
        expert: the model whose tokens are wanted.
        anti: the model whose tokens are not.
        name: in traces and messages.
        source: the text by which it was loaded; default: its name.

    Raises:
        InvalidSetting: there is neither, or a reward has another head.
        RewardMismatch: they have different tokenizers.
    """

    def __init__(
        self, expert: Expert | None = None, anti: Expert | None = None, name: str = "", source: str | None = None
    ):
        signed = ((1.0, expert), (-1.0, anti))
        self.parts = tuple((sign, part) for sign, part in signed if part is not None)
        if not self.parts:
            raise InvalidSetting("got neither an expert nor an anti-expert, expected at least one language model")
        if _same_weights(expert, anti):
            raise InvalidSetting(
                "got one model as the expert and the anti-expert, expected two of different weights: their ratio is 1"
            )
        for _, part in self.parts:
            if isinstance(part, RewardModel):
                check_lm_head(part.name, part.card.head)
        self.expert, self.anti = expert, anti
        names = ["" if part is None else PurePath(part.name).name for part in (expert, anti)]
        self.name = name or f"experts({','.join(names).rstrip(',')})"
        self.source = self.name if source is None else source
        for _, part in self.parts:
            self._check_part(part, _tokenizer(self.parts[0][1]))

    def __repr__(self) -> str:
        return f"Experts(expert={self.expert!r}, anti={self.anti!r})"

    @property
    def attributes(self) -> tuple[str, ...]:
        """The name of the only reward."""
        return (ATTRIBUTE,)

    @property
    def base(self) -> FrozenLM:
        """The language model of the first expert, or the base of its layers."""
        return _lm(self.parts[0][1])

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the weights of all experts, in the dtypes in which they are loaded."""
        return text_fingerprint(" ".join(f"{sign:+g}:{_fingerprint(part)}" for sign, part in self.parts))

    def describe(self) -> dict[str, str]:
        """The experts in records of a run: what loads them, and a hash of their weights."""
        return {"reward": self.name, "source": self.source, "fingerprint": self.fingerprint}

    def renamed(self, name: str) -> "Experts":
        """The same experts under another name."""
        return Experts(self.expert, self.anti, name)

    @property
    def extra_tokens(self) -> int:
        """1 if an expert reads BOS before a text, as a reward of `trimtab train genarm` does; else 0."""
        return max(_extra(part) for _, part in self.parts)

    @property
    def pad_token_id(self) -> int:
        """The token that pads a batch on the left."""
        return self.base.pad_token_id

    @property
    def context_length(self) -> int:
        """The longest prefix that all experts can read, in tokens, BOS included."""
        return self.extra_tokens + min(_lm(part).context_length - _extra(part) for _, part in self.parts)

    @checked
    def toward(
        self, beta: float, attribute: str | None = None, clamp: Clamp | None = None, min_entropy: float = 0.0
    ) -> Steer:
        """A steer towards the expert, away from the anti-expert: z_v + β · r(v).

        Args:
            beta: the papers' α; 1 for proxy-tuning, 2 for detoxification, 3.2 for sentiment.
            attribute: None or "expert".
            clamp: a range for the log-ratio, in nats; default none, as in the papers.
            min_entropy: steer only where the base's next-token entropy, in nats, is at least this.

        Raises:
            InvalidSetting: a number out of range, or another attribute.
        """
        check_expert_attribute(attribute)
        return Steer((Term(self, 0, float(beta), False, clamp, min_entropy),))

    @checked
    def away(
        self, beta: float, attribute: str | None = None, clamp: Clamp | None = None, min_entropy: float = 0.0
    ) -> Steer:
        """A steer away from the expert: z_v − β · r(v). Arguments and errors as in `toward`."""
        check_expert_attribute(attribute)
        return Steer((Term(self, 0, float(beta), True, clamp, min_entropy),))

    def check_serves(self, tokenizer_fingerprint: str) -> None:
        """Check that a language model has the experts' tokenizer.

        Raises:
            RewardMismatch: it has another one.
        """
        for _, part in self.parts:
            self._check_part(part, tokenizer_fingerprint)

    def _check_part(self, part: Expert, tokenizer_fingerprint: str) -> None:
        if (own := _tokenizer(part)) != tokenizer_fingerprint:
            raise RewardMismatch(
                f"got the expert {shown(part.name)} with the tokenizer {own}, expected {tokenizer_fingerprint}, "
                "that of the steered model and of the other expert; choose models of one family, whose tokens mean the "
                "same"
            )

    def check_candidates(self, k: int | None) -> None:
        """Do nothing: a language model scores every token at once."""

    def reads(self, model: object) -> None:
        """None: each expert runs its own layers."""

    def start(self, host: KVCache | None = None) -> RewardState:
        """A fresh per-request state. If `host` has a prefix cache and a usage count, they serve the experts too."""
        return ExpertsState([(sign, _start(part, host)) for sign, part in self.parts])


@final
class ExpertsState:
    """The signed sum of the experts' log-probabilities; each has a state, and takes every step."""

    def __init__(self, parts: list[tuple[float, RewardState]]):
        self._signs = [sign for sign, _ in parts]
        self._states = [state for _, state in parts]

    def prefill(self, ids: Int[Tensor, "rows slots"], mask: Bool[Tensor, "rows slots"]) -> None:
        """Encode prompts, in one forward of each expert."""
        for state in self._states:
            state.prefill(ids, mask)

    def rewards(self, candidates: Int[Tensor, "rows k"] | None) -> Float[Tensor, "rows k 1"]:
        """The log-ratio of each candidate, in nats; of the whole vocabulary: of the tokens that all experts have."""
        found = [state.rewards(candidates) for state in self._states]
        shared = min(each.shape[1] for each in found)
        signed = [sign * each[:, :shared] for sign, each in zip(self._signs, found, strict=True)]
        return signed[0] if len(signed) == 1 else signed[0] + signed[1]

    def advance(self, tokens: Int[Tensor, " rows"], choice: Int[Tensor, " rows"] | None = None) -> None:
        """Append a token to every prefix, in one forward of each expert."""
        for state in self._states:
            state.advance(tokens, choice)

    def select(self, rows: Int[Tensor, " selected"]) -> None:
        """Fork, re-order or drop prefixes."""
        for state in self._states:
            state.select(rows)

    def join(self, other: RewardState) -> None:
        """Append the prefixes of another state of the same experts."""
        assert isinstance(other, ExpertsState)
        for state, theirs in zip(self._states, other._states, strict=True):
            state.join(theirs)

    def rollback(self, tokens: int) -> None:
        """Take back the last tokens of every prefix."""
        for state in self._states:
            state.rollback(tokens)


def _start(part: Expert, host: KVCache | None) -> RewardState:
    return LogProbState(part, host) if isinstance(part, FrozenLM) else part.start(host)


def _lm(part: Expert) -> FrozenLM:
    return part if isinstance(part, FrozenLM) else part.base


def _extra(part: Expert) -> int:
    return 0 if isinstance(part, FrozenLM) else part.extra_tokens


def _tokenizer(part: Expert) -> str:
    return part.codec.fingerprint if isinstance(part, FrozenLM) else part.card.tokenizer_fingerprint


def _same_weights(expert: Expert | None, anti: Expert | None) -> bool:
    """Whether two experts are one model, also if it was loaded twice, or from two files."""
    if expert is None or anti is None:
        return False
    alike = _lm(expert).base_weights_fingerprint == _lm(anti).base_weights_fingerprint  # milliseconds
    return expert is anti or (type(expert) is type(anti) and alike and _fingerprint(expert) == _fingerprint(anti))


def _fingerprint(part: Expert) -> str:
    return part.weights_fingerprint if isinstance(part, FrozenLM) else part.fingerprint
