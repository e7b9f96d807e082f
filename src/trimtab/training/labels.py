"""Rewards from labelled texts: every prefix regresses its text's label."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from trimtab.checking import checked
from trimtab.data.tables import LabelledText
from trimtab.errors import InvalidData
from trimtab.models.frozen_lm import FrozenLM, PromptBatch
from trimtab.rewards.heads.base import PrefixRewards, RewardHead
from trimtab.rewards.reward_model import RewardModel
from trimtab.training.examples import TokenizedTexts, takes_base
from trimtab.training.fit import RunOptions, TrainingTask, fit
from trimtab.training.measure import FlipProbe, TextMeasure
from trimtab.training.new_card import new_card
from trimtab.training.objectives import Loss, weighted_cross_entropy, weighted_squared_error
from trimtab.training.recipe import LabelSettings, Recipe, check_scores_prefixes
from trimtab.training.trainer import Batch


@final
class Labels:
    """RAD's objective: every prefix regresses the text's label (2310.09520; 2407.04615 "labels" and "ce").

    Args:
        settings: the loss.
        pad_token_id: pads the batches.
    """

    def __init__(self, settings: LabelSettings, pad_token_id: int):
        self.error = weighted_squared_error if settings.loss == "squared" else weighted_cross_entropy
        self.pad_token_id = pad_token_id

    def collate(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Ids, mask and labels."""
        batch = PromptBatch.pad([example["input_ids"] for example in examples], self.pad_token_id, torch.device("cpu"))
        return {"ids": batch.ids, "mask": batch.mask, "labels": torch.tensor([e["labels"] for e in examples])}

    def loss(self, scored: PrefixRewards, head: RewardHead, batch: Batch) -> Loss:
        """The weighted error of every prefix."""
        return self.error(scored.values, batch["labels"], scored.known)


@takes_base
@checked
def train_from_labels(
    base: FrozenLM,
    attributes: Sequence[str],
    train: Sequence[LabelledText],
    held_out: Sequence[LabelledText],
    recipe: Recipe,
    settings: LabelSettings | None = None,
    options: RunOptions | None = None,
) -> RewardModel:
    """Train a reward on labelled texts and measure it on held-out ones.

    Args:
        base: its layers become the trunk; load it in bfloat16 if the recipe computes in it.
        attributes: the names of the labels.
        train, held_out: the texts to train on and to measure on.
        recipe, settings: the settings of the run and of the loss.
        options: the run's folder, its listener, the reward's name.

    Raises:
        InvalidSetting: a setting out of range or of another type.
        InvalidData: no texts, labels out of [0, 1], or the run's folder belongs to another run or process.
        InvalidOutput: the run's folder cannot be written.
        CorruptCheckpoint: the run's newest checkpoint is damaged.
        TrainingDiverged: a loss or a weight is not finite.
    """
    check_scores_prefixes(recipe)
    settings, options = settings or LabelSettings(), options or RunOptions()
    texts, measured = (TokenizedTexts(rows, base, recipe.max_tokens) for rows in (train, held_out))
    for part in (texts, measured):
        check_labels(part, attributes)
    card = new_card(base, attributes, recipe, link="sigmoid" if settings.loss == "cross-entropy" else "identity")
    mean = np.mean([example["labels"] for example in texts.examples], axis=0) if len(texts) else np.zeros(0)
    task = TrainingTask(
        objective=Labels(settings, base.pad_token_id),
        examples=texts,
        held_out=measured,
        measure=text_measure(base, attributes, measured, recipe.probe_beta, card.clamp),
        start_at=mean if settings.loss == "squared" else np.log(np.clip(mean, 0.01, 0.99) / np.clip(1 - mean, 0.01, 1)),
        facts={"texts": len(texts), "truncated": texts.truncated, "objective": f"labels, {settings.loss}"},
    )
    return fit(base, card, task, recipe, options)


def check_labels(texts: TokenizedTexts, attributes: Sequence[str]) -> None:
    """Check that each text has one label in [0, 1] for each attribute.

    Raises:
        InvalidData: a text has other labels.
    """
    for example in texts.examples:
        if len(example["labels"]) != len(attributes) or not all(0 <= label <= 1 for label in example["labels"]):
            expected = f"a number in [0, 1] for each of {', '.join(attributes)}"
            raise InvalidData(f"got labels {example['labels']}, expected {expected}")


def text_measure(
    base: FrozenLM,
    attributes: Sequence[str],
    texts: TokenizedTexts,
    probe_beta: float,
    clamp: tuple[float, float] | None,
    differences: bool = False,
    columns: tuple[int, ...] | None = None,
) -> TextMeasure:
    """The measure of held-out texts, with or without labels. Arguments as in `TextMeasure` and `FlipProbe`."""
    ids = [example["input_ids"] for example in texts.examples]
    labels = np.array([example["labels"] for example in texts.examples])
    probe = FlipProbe(base, ids, probe_beta, clamp)
    given = labels if labels.size else None
    names = tuple(attributes)
    return TextMeasure(ids, given, names, differences, probe, base.pad_token_id, columns=columns)
