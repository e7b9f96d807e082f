"""Train a language model on given texts, as an expert or an anti-expert (DExperts, 2105.03023)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from trimtab.checking import checked
from trimtab.data.tables import LabelledText
from trimtab.models.frozen_lm import FrozenLM, PromptBatch
from trimtab.rewards.heads.base import PrefixRewards, RewardHead
from trimtab.rewards.network import RewardNetwork
from trimtab.rewards.reward_model import RewardModel
from trimtab.training.examples import TokenizedTexts, takes_base
from trimtab.training.fit import RunOptions, TrainingTask, fit
from trimtab.training.measure import FlipProbe, held_out_warning, prefix_rewards, reward_range
from trimtab.training.new_card import new_card
from trimtab.training.objectives import Loss, language_modelling
from trimtab.training.recipe import LM_RECIPE, Recipe, check_trains_lm
from trimtab.training.trainer import Batch


@final
class LanguageModelling:
    """The mean of −log p of the texts' tokens, each given what precedes it.

    Args:
        pad_token_id: pads the batches.
    """

    def __init__(self, pad_token_id: int):
        self.pad_token_id = pad_token_id

    def collate(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Ids and mask, left-padded."""
        batch = PromptBatch.pad([example["input_ids"] for example in examples], self.pad_token_id, torch.device("cpu"))
        return {"ids": batch.ids, "mask": batch.mask}

    def loss(self, scored: PrefixRewards, head: RewardHead, batch: Batch) -> Loss:
        """−log p, averaged over tokens."""
        return language_modelling(scored.values, scored.known)


@final
@dataclass(frozen=True)
class PerplexityMeasure:
    """Measures a language model on held-out texts.

    Attributes:
        texts: token ids.
        probe: measures top1_flip.
        pad_token_id: pads the batches.
    """

    texts: Sequence[Sequence[int]]
    probe: FlipProbe
    pad_token_id: int

    def __call__(self, network: RewardNetwork, most: int | None = None) -> dict[str, Any]:
        """Figures of the first `most` texts; of all texts, with a "warning" if they say little.

        The perplexity is over all tokens together. A first token without BOS has no probability, and does not count.
        """
        texts = self.texts[:most]
        log_probs = prefix_rewards(network, texts, self.pad_token_id)
        every = np.concatenate([of_text[:, 0] for of_text in log_probs]).astype(float)
        known = every[np.isfinite(every)]
        warning = held_out_warning(len(texts)) if most is None else None
        return {
            **({} if warning is None else {"warning": warning}),
            "texts": len(texts),
            "tokens": len(known),
            "perplexity": float(np.exp(-known.mean())) if len(known) else None,
            "top1_flip": self.probe(network),
            "reward_range": reward_range([known[:, None]]) if len(known) else reward_range([np.zeros((1, 1))]),
        }


@takes_base
@checked
def train_expert(
    base: FrozenLM,
    attribute: str,
    train: Sequence[LabelledText],
    held_out: Sequence[LabelledText],
    recipe: Recipe = LM_RECIPE,
    options: RunOptions | None = None,
) -> RewardModel:
    """Train a language model on texts. Labels are not used; the other arguments are as in `train_from_labels`.

    DExperts (2105.03023) needs two: an expert on texts with the wanted attribute, and an anti-expert on texts without
    it. `trimtab.experts(expert, anti).toward(2.0)` steers by both.

    Differs from the paper: LoRA adapters are trained by default, not every weight (`trunk="full"`); a text has no EOS
    behind its end; a text begins with BOS where the base has one.

    Raises:
        InvalidSetting: another head than "lm", or a trunk that is neither "lora" nor "full"; or as in
            `train_from_labels`.
        InvalidData, InvalidOutput, CorruptCheckpoint, TrainingDiverged: as in `train_from_labels`.
    """
    check_trains_lm(recipe)
    texts, measured = (TokenizedTexts(rows, base, recipe.max_tokens) for rows in (train, held_out))
    ids = [example["input_ids"] for example in measured.examples]
    probe = FlipProbe(base, ids, recipe.probe_beta, clamp=None)
    task = TrainingTask(
        objective=LanguageModelling(base.pad_token_id),
        examples=texts,
        held_out=measured,
        measure=PerplexityMeasure(ids, probe, base.pad_token_id),
        start_at=np.zeros(1),
        facts={"texts": len(texts), "truncated": texts.truncated, "objective": "language modelling"},
    )
    card = new_card(base, [attribute], recipe, baseline=False, clamp=None)
    return fit(base, card, task, recipe, options or RunOptions())
