"""transformers' Trainer for draft heads. Its checkpoints hold the head's own weights only."""

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler
from transformers import Trainer, TrainerCallback, TrainerControl
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import logging as transformers_logging

from trimtab.errors import InvalidOutput, TrainingDiverged
from trimtab.rewards.card import WEIGHTS_FILE as CHECKPOINT_FILE  # the run folder checks it by this name
from trimtab.rewards.weights import read_sealed, save_sealed
from trimtab.training.batches import LengthGrouped, Throughput
from trimtab.training.draft_measure import agreement
from trimtab.training.draft_objective import DraftTask
from trimtab.training.draft_reads import KeptReads, collate, padded, targets_of
from trimtab.training.draft_settings import DraftSettings
from trimtab.training.saving import saving
from trimtab.training.trainer import training_arguments

MEASURED_TEXTS = 8  # at once


@final
class DraftTrainer(Trainer):
    """transformers' Trainer with the objective of draft heads.

    Args:
        task: the head and its language model.
        reads: what the model made of the texts.
        held_out: token ids of other texts.
        settings: the settings.
        checkpoints: the folder for checkpoints.
        callback: listens.
    """

    def __init__(
        self,
        task: DraftTask,
        reads: KeptReads,
        held_out: list[list[int]],
        settings: DraftSettings,
        checkpoints: Path,
        callback: TrainerCallback,
    ):
        transformers_logging.set_verbosity_error()
        super().__init__(
            model=task,
            args=training_arguments(settings.recipe, checkpoints, len(reads)),
            train_dataset=reads,
            eval_dataset=reads,
            data_collator=collate,
            callbacks=[callback],
        )
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        self.task, self.settings, self.held_out = task, settings, held_out
        self.throughput = Throughput()

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, **_: Any
    ) -> Tensor:
        """The head's mean loss.

        Raises:
            TrainingDiverged: it is not finite.
        """
        loss: Tensor = model(inputs["input_ids"], inputs["mask"], targets_of(inputs))
        self.throughput.count(inputs["mask"])
        if not bool(loss.detach().isfinite()):
            raise TrainingDiverged(
                f"the loss is not finite after step {self.state.global_step}; the last checkpoint is kept; lower the "
                f"learning rate (it was {self.settings.learning_rate:g}), and train again in another run folder"
            )
        return loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The loss and the agreement on held-out texts."""
        self.task.eval()
        device = self.task.device
        texts = [self.held_out[i : i + MEASURED_TEXTS] for i in range(0, len(self.held_out), MEASURED_TEXTS)]
        padded_texts = map(padded, texts)
        batches = [(ids.to(device), mask.to(device)) for ids, mask in padded_texts]
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=self.settings.bf16):
            sums = [self.task.sums(ids, mask, self.task.read(ids)) for ids, mask in batches]
            loss, count = (math.fsum(map(float, parts)) for parts in zip(*sums, strict=True))
            figures = {"eval_loss": loss / max(count, 1.0), **agreement(self.task, batches)}
        self.task.train()
        self.log(dict(figures))
        self.control: TrainerControl = self.callback_handler.on_evaluate(self.args, self.state, self.control, figures)
        return figures

    def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
        """Log a row. Training rows get the throughput since the last one."""
        super().log(logs | self.throughput.take() if "loss" in logs else logs, start_time)

    def head_tensors(self) -> dict[str, Tensor]:
        """The current values of the head's weights."""
        return {name: weight.contiguous() for name, weight in self.task.head.state_dict().items()}

    def load_head(self, path: Path) -> None:
        """Load weights that a checkpoint, or a finished run, kept.

        Raises:
            CorruptReward: they are damaged.
        """
        self.task.head.load_state_dict(read_sealed(path))

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Sampler[int]:
        lengths = [len(ids) for ids in self.train_dataset.texts]
        return LengthGrouped(lengths, self.settings.batch_size, self.settings.seed)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Save a checkpoint whole, or not at all."""
        folder = Path(str(self.args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        try:
            with saving(folder, "the checkpoint"):
                super()._save_checkpoint(model, trial)
        except InvalidOutput:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _save(self, output_dir: str | None = None, state_dict: Mapping[str, Tensor] | None = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_sealed(self.head_tensors(), folder / CHECKPOINT_FILE)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        self.load_head(Path(resume_from_checkpoint) / CHECKPOINT_FILE)
