"""Rewards as a judge: no question and no examples, one forward call over the new tokens."""

import math
from collections.abc import Sequence
from typing import final

from trimtab.engines.base import Capability, Engine, require
from trimtab.errors import InvalidSetting
from trimtab.judges.draft import Draft
from trimtab.models.codec import TextCodec
from trimtab.rewards.any_reward import check_scores_whole_texts
from trimtab.steering.steer import Steer, Term, distinct_rewards

UNDECIDED = 0.5  # the score of a text that a reward cannot read


@final
class RewardJudge:
    """The rewards of a steer as a judge.

    A term's score is the place of its clamped reward in its range, mirrored if the term steers away. The score of a
    draft is the mean over the terms, weighted by their β.

    Args:
        steer: the rewards, each toward or away.
        alone: read the continuation without its prompt, so that a bad prompt does not lower the score.

    Raises:
        InvalidSetting: a reward that scores one token at a time, or has no range; β = 0; rewards that cancel each
            other; or `alone` with a reward that puts no BOS before a text.
    """

    needs: frozenset[Capability] = frozenset({"rewards"})

    def __init__(self, steer: Steer, alone: bool = False):
        for reward in distinct_rewards([steer]):
            check_scores_whole_texts(reward)
        if not steer.terms or any(term.clamp is None for term in steer.terms):
            raise InvalidSetting(f"got {steer} to judge by, expected rewards with a range, such as clamp=(0, 1)")
        steer.check_acts()
        if alone and any(not term.reward.extra_tokens for term in steer.terms):
            raise InvalidSetting(f"got alone=True with {steer}, expected rewards that put BOS before a text")
        self._steer, self._alone = steer, alone
        self._total = math.fsum(abs(term.beta) for term in steer.terms)
        if not self._total:
            raise InvalidSetting("got β = 0 to judge by, expected toward(1) or away(1)")
        self.name = str(steer)

    def describe(self) -> dict[str, str]:
        """The rewards with their fingerprints and ranges, and whether they read the continuation alone."""
        terms = self._steer.describe()
        return {
            "rewards": "; ".join(
                f"{each['source']}:{each['attribute']} {each['fingerprint']} {each['direction']} "
                f"{each['beta']:g} clamp {each['clamp']}"
                for each in terms
            ),
            "alone": str(self._alone).lower(),
        }

    def room(self, codec: TextCodec, prompt: str, prompt_ids: Sequence[int]) -> int:
        """The tokens that the rewards' contexts leave for a continuation.

        Raises:
            RewardMismatch: a reward was made for another tokenizer.
        """
        rewards = distinct_rewards([self._steer])
        for reward in rewards:
            reward.check_serves(codec.fingerprint)
        context = min(reward.context_length - reward.extra_tokens for reward in rewards)
        return context - (0 if self._alone else len(prompt_ids))

    def score(self, drafts: Sequence[Draft], engine: Engine | None) -> Sequence[float]:
        """The score of prompt and continuation, or of the continuation alone; ½ where there is nothing to read.

        Raises:
            InvalidSetting: there is no engine.
            UnsupportedByEngine: the engine computes no rewards.
        """
        if engine is None:
            raise InvalidSetting(f"got no engine for the judge {self.name!r}, expected one that computes rewards")
        require(engine, self.needs, f"the judge {self.name!r}")
        texts = [[*(() if self._alone else draft.prompt_ids), *draft.token_ids] for draft in drafts]
        scores = [0.0] * len(drafts)
        for reward in distinct_rewards([self._steer]):
            readable = [row for row, text in enumerate(texts) if text and len(text) + reward.extra_tokens >= 2]
            rewards = engine.rewards(reward, [texts[row] for row in readable]).tolist() if readable else []
            of_row = dict(zip(readable, rewards, strict=True))
            for term in (term for term in self._steer.terms if term.reward is reward):
                for row in range(len(texts)):
                    share = _share(of_row[row][term.attribute], term) if row in of_row else UNDECIDED
                    scores[row] += abs(term.beta) / self._total * share
        return scores


def _share(reward: float, term: Term) -> float:
    """The place of the clamped reward in its range, from 0 to 1; mirrored where low rewards are good."""
    assert term.clamp is not None
    low, high = term.clamp
    share = (min(max(reward, low), high) - low) / (high - low)
    return 1 - share if term.away != (term.beta < 0) else share
