"""Train a language model from preference pairs, as a reward of next tokens (GenARM, 2410.08193)."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
from torch import Tensor

from trimtab.checking import checked
from trimtab.data.tables import TextPair
from trimtab.models.frozen_lm import FrozenLM
from trimtab.rewards.heads.base import PrefixRewards, RewardHead
from trimtab.rewards.reward_model import RewardModel
from trimtab.training.examples import TokenizedPairs, takes_base
from trimtab.training.fit import RunOptions, TrainingTask, fit
from trimtab.training.measure import FlipProbe, PairMeasure
from trimtab.training.new_card import new_card
from trimtab.training.objectives import Loss, sequence_bradley_terry
from trimtab.training.pair_batches import collate_pairs
from trimtab.training.recipe import LM_RECIPE, GenARMSettings, Recipe, check_trains_lm
from trimtab.training.trainer import Batch


@final
class LogProbPreferences:
    """GenARM's loss on the summed log-probabilities of whole texts; what the texts of a pair share cancels.

    Args:
        settings: β_r.
        pad_token_id: pads the batches.
    """

    def __init__(self, settings: GenARMSettings, pad_token_id: int):
        self.beta_r = settings.beta_r
        self.pad_token_id = pad_token_id

    def collate(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Ids and mask: all chosen texts, then all rejected ones."""
        return collate_pairs(examples, self.pad_token_id)

    def loss(self, scored: PrefixRewards, head: RewardHead, batch: Batch) -> Loss:
        """−log σ of β_r times the margin."""
        return sequence_bradley_terry(scored.values, scored.known, self.beta_r)


@takes_base
@checked
def train_genarm(
    base: FrozenLM,
    attribute: str,
    train: Sequence[TextPair],
    held_out: Sequence[TextPair],
    recipe: Recipe = LM_RECIPE,
    settings: GenARMSettings | None = None,
    options: RunOptions | None = None,
) -> RewardModel:
    """Train a language model whose log-probabilities prefer the chosen texts. Arguments as in `train_from_labels`.

    The reward is not clamped, and is used with a β near 1: `reward.toward(1.0)`. It is an expert, too:
    `trimtab.experts(reward, anti)`.

    Differs from the paper: a text has no EOS behind its end, so the reward does not learn where answers end.

    Raises:
        InvalidSetting: another head than "lm", or a trunk that is neither "lora" nor "full"; or as in
            `train_from_labels`.
        InvalidData, InvalidOutput, CorruptCheckpoint, TrainingDiverged: as in `train_from_labels`.
    """
    check_trains_lm(recipe)
    settings, options = settings or GenARMSettings(), options or RunOptions()
    pairs, measured = (TokenizedPairs(rows, base, recipe.max_tokens) for rows in (train, held_out))
    chosen, rejected = ([example[side] for example in measured.examples] for side in ("chosen", "rejected"))
    probe = FlipProbe(base, chosen, recipe.probe_beta, clamp=None)
    task = TrainingTask(
        objective=LogProbPreferences(settings, base.pad_token_id),
        examples=pairs,
        held_out=measured,
        measure=PairMeasure(chosen, rejected, attribute, probe, base.pad_token_id, True, settings.beta_r),
        start_at=np.zeros(1),
        facts={
            "pairs": len(pairs),
            "truncated": pairs.truncated,
            "objective": f"genarm, beta_r {settings.beta_r:g}",
        },
    )
    card = new_card(base, [attribute], recipe, baseline=False, clamp=None)
    return fit(base, card, task, recipe, options)
