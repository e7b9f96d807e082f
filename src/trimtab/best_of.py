"""Best-of-n: write n drafts, keep the one that a reward likes most. The yardstick of every decode-time method."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from trimtab.engines.guide import rewards_of
from trimtab.engines.scoring import reward_texts
from trimtab.frozen.lm import FrozenLM
from trimtab.generation import Generation
from trimtab.steering.steer import Steer

TOGETHER = 128


@final
@dataclass(frozen=True)
class Best:
    """The drafts of one prompt, ranked.

    Attributes:
        drafts: the best first; of equal ones, the one written first.
        scores: Σ ±β · r(prompt + draft) of each, minus where the steer is away. Rewards are not clamped as they are
            when they steer: that would make equals of the best.
    """

    drafts: tuple[Generation, ...]
    scores: tuple[float, ...]

    @property
    def text(self) -> str:
        """The text of the best draft."""
        return self.drafts[0].text


def rank(
    lm: FrozenLM, by: Steer, prefixes: Sequence[Sequence[int]], drafts: Sequence[Sequence[Generation]]
) -> list[Best]:
    """Order the drafts of each prompt by the reward of the whole text; all are scored in batches.

    Args:
        lm: the language model that wrote them.
        by: the rewards, each towards or away, with their weights.
        prefixes: the prompts' token ids.
        drafts: what follows each; EOS at an end is not scored.

    Raises:
        InvalidPrompt: prompt and draft are longer than a reward's context.
    """
    pairs = [(prefix, draft) for prefix, of in zip(prefixes, drafts, strict=True) for draft in of]
    texts = [[*prefix, *without_eos(draft.token_ids, lm)] for prefix, draft in pairs]
    scores = torch.cat([_scores(by, texts[start : start + TOGETHER], lm) for start in range(0, len(texts), TOGETHER)])
    return [_ordered(of, part) for of, part in zip(drafts, scores.split([len(of) for of in drafts]), strict=True)]


def _ordered(drafts: Sequence[Generation], scores: Float[Tensor, " drafts"]) -> Best:
    order = scores.argsort(descending=True, stable=True)
    return Best(tuple(drafts[place] for place in order.tolist()), tuple(scores[order].tolist()))


def without_eos(ids: Sequence[int], lm: FrozenLM) -> list[int]:
    """Token ids without an EOS at their end."""
    return list(ids[:-1] if ids and ids[-1] in lm.eos_token_ids else ids)


def _scores(by: Steer, texts: Sequence[Sequence[int]], lm: FrozenLM) -> Float[Tensor, " texts"]:
    """Σ ±β · r of each text."""
    total = torch.zeros(len(texts), device=lm.device)
    for reward in rewards_of([by]):
        rewards = reward_texts(lm, reward, texts)
        for term in (term for term in by.terms if term.reward is reward):
            total = total + (-term.beta if term.away else term.beta) * rewards[:, term.attribute]
    return total.cpu()
