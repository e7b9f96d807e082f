"""Train rewards from preference pairs (Bradley–Terry)."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
from torch import Tensor

from trimtab.checking import checked
from trimtab.data.tables import TextPair
from trimtab.models.frozen_lm import FrozenLM
from trimtab.rewards.card import RewardCard
from trimtab.rewards.heads.base import PrefixRewards, RewardHead
from trimtab.rewards.reward_model import RewardModel
from trimtab.training.edits import Edits
from trimtab.training.examples import Examples, TokenizedPairs, takes_base
from trimtab.training.fit import RunOptions, TrainingTask, fit
from trimtab.training.measure import FlipProbe, PairMeasure
from trimtab.training.new_card import new_card
from trimtab.training.objectives import Loss, bradley_terry, prefix_bradley_terry
from trimtab.training.pair_batches import collate_pairs
from trimtab.training.policy_loss import REFERENCE, PolicyLoss, ReferencedPairs, collate_references
from trimtab.training.recipe import PairSettings, Recipe, check_learns_pairs, check_scores_prefixes
from trimtab.training.trainer import Batch, Objective


@final
class Preferences:
    """Bradley–Terry on the rewards of whole texts, and optionally of their prefixes.

    Differs from the papers: they train on labels.

    Args:
        settings: whether prefixes are compared too.
        pad_token_id: pads the batches.
        policy: a second loss; None for none.
    """

    def __init__(self, settings: PairSettings, pad_token_id: int, policy: PolicyLoss | None = None):
        self.prefixes, self.policy = settings.prefixes, policy
        self.pad_token_id = pad_token_id

    def collate(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Ids and mask: all chosen texts, then all rejected ones; with a policy loss, their log-probabilities, too."""
        batch = collate_pairs(examples, self.pad_token_id)
        return batch if self.policy is None else {**batch, REFERENCE: collate_references(examples)}

    def loss(self, scored: PrefixRewards, head: RewardHead, batch: Batch) -> Loss:
        """−log σ of the margin between whole texts; with prefixes, the mean of that and of the prefixes' loss.

        A policy loss is added.
        """
        reward = self._of_rewards(scored)
        return reward if self.policy is None else self.policy.added(reward, scored, head, batch)

    def _of_rewards(self, scored: PrefixRewards) -> Loss:
        (chosen, rejected), (chosen_known, rejected_known) = scored.values.chunk(2), scored.known.chunk(2)
        compared = chosen_known[:, -1] & rejected_known[:, -1]  # not where a text has no state before its only token
        whole = bradley_terry(chosen[:, -1], rejected[:, -1], compared)
        if not self.prefixes:
            return whole
        of_prefixes = prefix_bradley_terry(chosen, rejected, chosen_known, rejected_known)
        return Loss((whole.total + of_prefixes.total) / 2, whole.items)


@takes_base
@checked
def train_from_pairs(
    base: FrozenLM,
    attribute: str,
    train: Sequence[TextPair],
    held_out: Sequence[TextPair],
    recipe: Recipe,
    settings: PairSettings | None = None,
    options: RunOptions | None = None,
) -> RewardModel:
    """Train a reward on pairs. Arguments and errors as in `train_from_labels`.

    The rewards are margins, not probabilities. So the card's clamp is the range between the 1 % and the 99 %
    quantile of the held-out rewards. With `edits`, they are rewards of single tokens, and are not clamped.
    """
    check_scores_prefixes(recipe)
    settings, options = settings or PairSettings(), options or RunOptions()
    check_learns_pairs(recipe, settings)
    pairs, measured = (TokenizedPairs(rows, base, recipe.max_tokens) for rows in (train, held_out))
    chosen, rejected = ([example[side] for example in measured.examples] for side in ("chosen", "rejected"))
    probe = FlipProbe(base, chosen, recipe.probe_beta, clamp=None)
    card = new_card(
        base, [attribute], recipe, baseline=not settings.edits, clamp=None if settings.edits else (0.0, 1.0)
    )
    task = TrainingTask(
        objective=_objective(base, settings),
        examples=_examples(pairs, base, card, recipe, settings),
        held_out=_examples(measured, base, card, recipe, settings),
        measure=PairMeasure(chosen, rejected, attribute, probe, base.pad_token_id, differences=settings.edits),
        start_at=np.zeros(1),
        facts={"pairs": len(pairs), "truncated": pairs.truncated, "objective": settings.described},
        clamp_to_range=not settings.edits,
    )
    return fit(base, card, task, recipe, options)


def _objective(base: FrozenLM, settings: PairSettings) -> Objective:
    if settings.edits:
        return Edits(base.pad_token_id)
    policy = PolicyLoss(settings, base) if settings.policy_loss else None
    return Preferences(settings, base.pad_token_id, policy)


def _examples(
    pairs: TokenizedPairs, base: FrozenLM, card: RewardCard, recipe: Recipe, settings: PairSettings
) -> Examples:
    return ReferencedPairs(pairs, base, card, recipe) if settings.policy_loss else pairs
