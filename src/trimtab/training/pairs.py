"""Train rewards from preference pairs (Bradley–Terry)."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from trimtab.checking import checked
from trimtab.data.tables import TextPair
from trimtab.models.frozen_lm import FrozenLM, PromptBatch
from trimtab.rewards.heads.base import PrefixRewards, RewardHead
from trimtab.rewards.reward_model import RewardModel
from trimtab.training.examples import TokenizedPairs, takes_base
from trimtab.training.fit import RunOptions, TrainingTask, fit
from trimtab.training.measure import FlipProbe, PairMeasure
from trimtab.training.new_card import new_card
from trimtab.training.objectives import Loss, bradley_terry, prefix_bradley_terry
from trimtab.training.recipe import PairSettings, Recipe, check_scores_prefixes
from trimtab.training.trainer import Batch


@final
class Preferences:
    """Bradley–Terry on the rewards of whole texts, and optionally of their prefixes.

    Differs from the papers: they train on labels.

    Args:
        settings: whether prefixes are compared too.
        pad_token_id: pads the batches.
    """

    def __init__(self, settings: PairSettings, pad_token_id: int):
        self.prefixes = settings.prefixes
        self.pad_token_id = pad_token_id

    def collate(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Ids and mask: all chosen texts, then all rejected ones."""
        return collate_pairs(examples, self.pad_token_id)

    def loss(self, scored: PrefixRewards, head: RewardHead, batch: Batch) -> Loss:
        """−log σ of the margin between whole texts; with prefixes, the mean of that and of the prefixes' loss."""
        (chosen, rejected), (chosen_known, rejected_known) = scored.values.chunk(2), scored.known.chunk(2)
        whole = bradley_terry(chosen[:, -1], rejected[:, -1])
        if not self.prefixes:
            return whole
        of_prefixes = prefix_bradley_terry(chosen, rejected, chosen_known, rejected_known)
        return Loss((whole.total + of_prefixes.total) / 2, whole.items)


def collate_pairs(examples: Sequence[Mapping[str, Any]], pad_token_id: int) -> dict[str, Tensor]:
    """Ids and mask of some pairs: all chosen texts, then all rejected ones."""
    texts = [example[side] for side in ("chosen", "rejected") for example in examples]
    batch = PromptBatch.pad(texts, pad_token_id, torch.device("cpu"))
    return {"ids": batch.ids, "mask": batch.mask}


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
    quantile of the held-out rewards.
    """
    check_scores_prefixes(recipe)
    settings, options = settings or PairSettings(), options or RunOptions()
    pairs, measured = (TokenizedPairs(rows, base, recipe.max_tokens) for rows in (train, held_out))
    chosen, rejected = ([example[side] for example in measured.examples] for side in ("chosen", "rejected"))
    probe = FlipProbe(base, chosen, recipe.probe_beta, clamp=None)
    task = TrainingTask(
        objective=Preferences(settings, base.pad_token_id),
        examples=pairs,
        held_out=measured,
        measure=PairMeasure(chosen, rejected, attribute, probe, base.pad_token_id),
        start_at=np.zeros(1),
        facts={
            "pairs": len(pairs),
            "truncated": pairs.truncated,
            "objective": "pairs, with prefixes" if settings.prefixes else "pairs",
        },
        clamp_to_range=True,
    )
    return fit(base, new_card(base, [attribute], recipe), task, recipe, options)
