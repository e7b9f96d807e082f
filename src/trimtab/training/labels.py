"""Train a reward from labelled texts: weighted squared error, zero-delta regulariser, transformers' Trainer."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from sklearn.metrics import accuracy_score, roc_auc_score
from torch import Tensor, nn
from transformers import EvalPrediction, Trainer, TrainingArguments, set_seed

from trimtab.errors import InvalidSetting
from trimtab.frozen.lm import FrozenLM, PromptBatch
from trimtab.rewards.card import RewardCard, TrunkTraining
from trimtab.rewards.heads import QHead
from trimtab.rewards.model import RewardModel
from trimtab.rewards.network import RewardNetwork, build_network
from trimtab.training.data import LabelledText, TokenizedTexts
from trimtab.training.objectives import weighted_squared_error, zero_delta
from trimtab.training.recipe import LabelRecipe


class RewardTrainer(Trainer):
    """transformers' Trainer with the reward objectives for a loss, and checkpoints without the base's weights."""

    def __init__(self, *args: Any, regulariser: float, vocabulary: int, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.regulariser = regulariser
        self.vocabulary = vocabulary

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, **_: Any
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """RAD's loss and, for a Q-head in training, the regulariser."""
        scored = model(inputs["ids"], inputs["mask"])
        loss = weighted_squared_error(scored.values, inputs["labels"], scored.known)
        head = self.accelerator.unwrap_model(model).head
        if model.training and isinstance(head, QHead) and self.regulariser:
            loss = loss + self.regulariser * zero_delta(head, scored, self.vocabulary)
        return (loss, {"loss": loss, "rewards": scored.values[:, -1].float()}) if return_outputs else loss


def train_from_labels(
    base: FrozenLM,
    attributes: Sequence[str],
    train: Sequence[LabelledText],
    held_out: Sequence[LabelledText],
    recipe: LabelRecipe,
    name: str = "reward",
    provenance: dict[str, Any] | None = None,
) -> RewardModel:
    """Train a reward on labelled texts and measure it on held-out ones.

    Args:
        base: whose layers become the trunk; loaded in bfloat16 if the recipe computes in it.
        attributes: the names of the labels.
        train, held_out: the data.
        recipe: the settings.
        name: what to call the reward.
        provenance: goes into the card, with the recipe.

    Raises:
        InvalidSetting: a setting out of range.
    """
    if not train:
        raise InvalidSetting("got no training texts, expected at least one")
    set_seed(recipe.seed)
    texts = TokenizedTexts(train, base, recipe.max_tokens)
    counts = {"texts": len(texts), "truncated": texts.truncated}
    card = new_card(base, attributes, recipe, {**(provenance or {}), "recipe": asdict(recipe), **counts})
    network = build_network(base, card)
    prepare_for_training(network, card.trunk, np.mean([row.labels for row in train], axis=0))
    with TemporaryDirectory() as run_folder:
        trainer = RewardTrainer(
            model=network,
            args=training_arguments(recipe, Path(run_folder)),
            train_dataset=texts,
            eval_dataset=TokenizedTexts(held_out, base, recipe.max_tokens),
            data_collator=lambda examples: collate(examples, base.pad_token_id),
            compute_metrics=lambda predicted: whole_text_quality(predicted, attributes),
            regulariser=recipe.regulariser,
            vocabulary=len(base.tokenizer),
        )
        trainer.train()
        measured = trainer.evaluate()
    quality = {key.removeprefix("eval_"): value for key, value in measured.items() if ":" in key or key == "eval_loss"}
    card = replace(card, quality={**quality, "texts": len(held_out)})
    return RewardModel(network, card, base, name)


def new_card(base: FrozenLM, attributes: Sequence[str], recipe: LabelRecipe, provenance: dict[str, Any]) -> RewardCard:
    """The card of a reward about to be trained."""
    hosted = recipe.trunk == "frozen" and not base.prepends_bos
    return RewardCard(
        base=base.name,
        base_fingerprint=base.base_fingerprint,
        tokenizer_fingerprint=base.tokenizer_fingerprint,
        layers=base.layers if recipe.layers is None else recipe.layers,
        head=recipe.head,
        attributes=tuple(attributes),
        trunk=recipe.trunk,
        rank=recipe.rank,
        lora_rank=recipe.lora_rank,
        lora_alpha=2 * recipe.lora_rank,
        bos_token_id=None if hosted else base.bos_token_id,
        provenance=provenance,
    )


def prepare_for_training(network: RewardNetwork, trunk: TrunkTraining, mean_labels: np.ndarray) -> None:
    """Hold what is trained in float32, and start the prefix's baseline at the mean label."""
    for name, weight in network.named_parameters():
        trained = trunk == "full" or name.startswith("head.") or "lora_" in name
        weight.requires_grad_(trained)
        if trained:
            weight.data = weight.data.float()
    value = network.head.baseline if isinstance(network.head, QHead) else network.head.value
    if value is not None:
        nn.init.zeros_(value.weight)
        value.bias.data.copy_(torch.as_tensor(mean_labels))


def training_arguments(recipe: LabelRecipe, run_folder: Path) -> TrainingArguments:
    """The Trainer's settings for a recipe."""
    return TrainingArguments(
        output_dir=str(run_folder),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=recipe.batch_size,
        learning_rate=recipe.resolved_learning_rate,
        warmup_steps=recipe.warmup_steps,
        lr_scheduler_type="linear",
        max_grad_norm=recipe.clip,
        adam_beta1=0.9,
        adam_beta2=0.95,
        adam_epsilon=1e-12,
        weight_decay=0.01,
        bf16=recipe.bf16,
        use_cpu=not torch.cuda.is_available(),
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,
        label_names=["labels"],
        save_strategy="no",
        logging_steps=20,
        report_to="none",
        seed=recipe.seed,
    )


def collate(examples: Sequence[dict[str, Any]], pad_token_id: int) -> dict[str, Tensor]:
    """One left-padded batch: ids, mask and labels."""
    batch = PromptBatch.pad([example["input_ids"] for example in examples], pad_token_id, torch.device("cpu"))
    return {"ids": batch.ids, "mask": batch.mask, "labels": torch.tensor([example["labels"] for example in examples])}


def whole_text_quality(predicted: EvalPrediction, attributes: Sequence[str]) -> dict[str, float]:
    """Accuracy (threshold ½) and AUC of the reward of whole texts, for each attribute."""
    quality = {}
    for column, attribute in enumerate(attributes):
        rewards, labels = predicted.predictions[:, column], predicted.label_ids[:, column] >= 0.5
        quality[f"accuracy:{attribute}"] = float(accuracy_score(labels, rewards >= 0.5))
        if 0 < labels.sum() < len(labels):
            quality[f"auc:{attribute}"] = float(roc_auc_score(labels, rewards))
    return quality
