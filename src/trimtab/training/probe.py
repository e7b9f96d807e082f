"""How often a reward would change the base's first choice, asked on held-out texts while training."""

from collections.abc import Sequence
from typing import final

from trimtab.frozen.lm import FrozenLM
from trimtab.rewards.alternatives import score_alternatives
from trimtab.rewards.network import RewardNetwork
from trimtab.training.choices import base_choices

PROBED_TEXTS = 32
PROBED_TOKENS = 32
PROBED_CANDIDATES = 20


@final
class FlipProbe:
    """top1_flip: the share of places where z + β · clamp(r) has another first choice than z.

    Args:
        base: the language model.
        texts: token ids; the first 32 tokens of the first 32 texts are asked about.
        beta: β, towards the first attribute.
        clamp: the range of rewards; None for none.
    """

    def __init__(self, base: FrozenLM, texts: Sequence[Sequence[int]], beta: float, clamp: tuple[float, float] | None):
        self.batch = base.batch([ids[:PROBED_TOKENS] for ids in texts[:PROBED_TEXTS]])
        self.choices = base_choices(base, self.batch, min(PROBED_CANDIDATES, base.vocabulary_size))
        self.beta, self.clamp = beta, clamp

    def __call__(self, network: RewardNetwork) -> float | None:
        """Ask a network; None where no text has a second token to ask about."""
        rewards = score_alternatives(network, self.batch.ids, self.batch.mask, self.choices.candidates)[..., 0].float()
        if self.clamp is not None:
            rewards = rewards.clamp(*self.clamp)
        steered = (self.choices.logits + self.beta * rewards).argmax(-1)
        known = self.choices.known
        return float((steered[known] != 0).float().mean()) if known.any() else None
