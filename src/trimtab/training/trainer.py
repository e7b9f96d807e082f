"""transformers' Trainer for reward networks. Its checkpoints hold the reward's own weights only."""

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import logging as transformers_logging

from trimtab.errors import InvalidOutput, InvalidSetting, TrainingDiverged
from trimtab.rewards.card import WEIGHTS_FILE, TrunkTraining
from trimtab.rewards.folder import load_own_tensors
from trimtab.rewards.heads.base import PrefixRewards, RewardHead
from trimtab.rewards.network import RewardNetwork, reward_tensors
from trimtab.rewards.weights import first_non_finite, save_sealed
from trimtab.training.batches import LengthGrouped, Throughput, by_length
from trimtab.training.callbacks import Epochs, Patience
from trimtab.training.distributed import evaluating, processes
from trimtab.training.examples import Examples
from trimtab.training.kept_states import STATES, with_states
from trimtab.training.objectives import Loss, token_mean
from trimtab.training.recipe import Recipe
from trimtab.training.saving import saving

Batch = Mapping[str, Tensor]
LOG_EVERY = 20
QUICK_HELD_OUT = 256


@runtime_checkable
class Objective(Protocol):
    """A training objective: it makes batches from examples, and a loss from the rewards of a batch."""

    def collate(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """A left-padded batch, with "ids" and "mask" among its tensors."""

    def loss(self, scored: PrefixRewards, head: RewardHead, batch: Batch) -> Loss:
        """The loss of the rewards of the batch's texts."""


@runtime_checkable
class Measure(Protocol):
    """A measure on held-out texts."""

    def __call__(self, network: RewardNetwork, most: int | None = None) -> dict[str, Any]:
        """Figures and tables of the first `most` texts; None for all."""


class RewardTrainer(Trainer):
    """transformers' Trainer with a reward objective.

    Args:
        network: the network to train.
        trunk: how its trunk is trained; this tells the reward's own weights.
        objective, measure, recipe: the loss, the measure on held-out texts and the settings.
        examples, held_out: tokenized data.
        vocabulary: the number of token ids that the regulariser draws from.
        run_folder: the folder for checkpoints; None for no checkpoints.
        callbacks: further callbacks of the Trainer.
    """

    def __init__(
        self,
        network: RewardNetwork,
        trunk: TrunkTraining,
        objective: Objective,
        measure: Measure,
        recipe: Recipe,
        examples: Examples,
        held_out: Examples,
        vocabulary: int,
        run_folder: Path | None,
        callbacks: Sequence[TrainerCallback] = (),
    ):
        stopping = [] if recipe.patience is None else [Patience(recipe.patience)]
        transformers_logging.set_verbosity_error()  # it warns of settings that trimtab chose
        super().__init__(
            model=network,
            args=training_arguments(recipe, run_folder, len(examples)),
            train_dataset=examples,
            eval_dataset=held_out,
            data_collator=with_states(objective.collate),
            callbacks=[*callbacks, *stopping],
        )
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        self.network, self.trunk, self.objective, self.measure, self.recipe = network, trunk, objective, measure, recipe
        self.vocabulary = vocabulary
        self.most_held_out: int | None = QUICK_HELD_OUT
        self.throughput = Throughput()
        self._loss_is_finite: Tensor | bool = True

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, **_: Any
    ) -> Tensor:
        """The objective's loss and, in training, the head's regulariser; each is a mean over all processes."""
        scored = model(inputs["ids"], inputs["mask"], inputs.get(STATES))
        loss = self._shared_mean(self.objective.loss(scored, self.network.head, inputs))
        if model.training:
            self.throughput.count(inputs["mask"])
            loss = loss + self._regulariser(scored) if self.recipe.regulariser else loss
            self._watch(loss)
        return loss

    def _watch(self, loss: Tensor) -> None:
        """Note whether a loss is finite. Only a CPU is asked at once: elsewhere the answer would stop the device."""
        self._loss_is_finite = loss.detach().isfinite() & self._loss_is_finite
        if loss.device.type == "cpu":
            self.check_finite()

    def check_finite(self) -> None:
        """Check that every loss so far was finite.

        It is called at each log, before each measurement and before each save; on a CPU at every step.

        Raises:
            TrainingDiverged: a loss was not.
        """
        if not bool(self._loss_is_finite):
            raise self._diverged("the loss")

    def _regulariser(self, scored: PrefixRewards) -> Tensor | float:
        penalty = self.network.head.penalty(scored.before, self.vocabulary)
        return (
            0.0 if penalty is None else self.recipe.regulariser * self._shared_mean(token_mean(penalty, scored.known))
        )

    def _shared_mean(self, loss: Loss) -> Tensor:
        items = self.accelerator.reduce(loss.items.float(), reduction="mean")
        return loss.total / items.clamp_min(1 / self.accelerator.num_processes)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Measure on held-out texts: 256 during training, all at the end. Every process measures all of them."""
        self.reward_tensors()  # raises if a weight is not finite
        with evaluating(self.network, self.recipe.bf16):
            loss = self._held_out_loss()
            if not math.isfinite(loss):
                raise self._diverged("the loss on held-out texts")
            figures = {"eval_loss": loss, **self.measure(self.network, self.most_held_out)}
        self.log({**figures, "final": True} if self.most_held_out is None else dict(figures))
        self.control: TrainerControl = self.callback_handler.on_evaluate(self.args, self.state, self.control, figures)
        return figures

    def _held_out_loss(self) -> float:
        examples = [self.eval_dataset[i] for i in range(len(self.eval_dataset))][: self.most_held_out]
        total, items = 0.0, 0.0
        for some in by_length(examples, self.recipe.batch_size):
            batch = {name: part.to(self.args.device) for name, part in self.objective.collate(some).items()}
            scored = self.network(batch["ids"], batch["mask"])
            loss = self.objective.loss(scored, self.network.head, batch)
            total, items = total + float(loss.total), items + float(loss.items)
        return total / max(items, 1.0)

    def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
        """Log a row. Training rows get the throughput since the last one.

        Raises:
            TrainingDiverged: as in `check_finite`.
        """
        self.check_finite()
        super().log(logs | self.throughput.take() if "loss" in logs else logs, start_time)

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Sampler[int]:
        lengths = [self.train_dataset[i]["length"] for i in range(len(self.train_dataset))]
        sampler = LengthGrouped(lengths, self.recipe.batch_size, self.recipe.seed)
        self.add_callback(Epochs(sampler))
        return sampler

    def reward_tensors(self) -> dict[str, Tensor]:
        """The current values of the reward's own weights.

        Raises:
            TrainingDiverged: as in `check_finite`, or a weight is not finite.
        """
        self.check_finite()
        tensors = {name: weight.contiguous() for name, weight in reward_tensors(self.network, self.trunk).items()}
        if bad := first_non_finite(tensors):
            raise self._diverged(f"the weight {bad!r}")
        return tensors

    def _diverged(self, what: str) -> TrainingDiverged:
        return TrainingDiverged(
            f"{what} is not finite after step {self.state.global_step} of {self.state.max_steps}; the last checkpoint "
            f"is kept, and no reward is saved; lower the learning rate (it was {self.recipe.resolved_learning_rate:g}) "
            f"or the regulariser (it was {self.recipe.regulariser:g}), and train again in another run folder"
        )

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Save a checkpoint whole, or not at all."""
        folder = Path(str(self.args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        try:
            with saving(folder, "the checkpoint"):
                super()._save_checkpoint(model, trial)
        except InvalidOutput:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_sealed(self.reward_tensors(), folder / WEIGHTS_FILE)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        load_own_tensors(self.network, self.trunk, Path(resume_from_checkpoint) / WEIGHTS_FILE)

    def _load_best_model(self) -> None:
        load_own_tensors(self.network, self.trunk, Path(str(self.state.best_model_checkpoint)) / WEIGHTS_FILE)


def training_arguments(recipe: Recipe, run_folder: Path | None, examples: int) -> TrainingArguments:
    """The Trainer's settings for a recipe. The optimizer has the papers' settings.

    Raises:
        InvalidSetting: the batch size is not a multiple of the number of processes.
    """
    share, odd = divmod(recipe.batch_size, processes().num_processes)
    if odd:
        raise InvalidSetting(
            f"got batch_size={recipe.batch_size}, expected a multiple of the {processes().num_processes} processes"
        )
    steps = math.ceil(math.ceil(examples / recipe.batch_size) * recipe.epochs)
    every = max(1, steps // recipe.checkpoints)
    arguments = TrainingArguments(
        output_dir=str(run_folder or gettempdir()),  # the Trainer makes this folder even if it saves nothing
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=share,
        learning_rate=recipe.resolved_learning_rate,
        warmup_steps=min(recipe.warmup_steps, steps // 2),
        lr_scheduler_type="linear",
        max_grad_norm=recipe.clip,
        adam_beta1=0.9,
        adam_beta2=0.95,
        adam_epsilon=1e-12,
        weight_decay=0.01,
        bf16=recipe.bf16,
        use_cpu=not torch.cuda.is_available(),
        remove_unused_columns=False,
        save_strategy="no" if run_folder is None else "steps",
        eval_strategy="no" if run_folder is None else "steps",
        save_steps=every,
        eval_steps=every,
        save_total_limit=2,
        metric_for_best_model=None if recipe.patience is None else "eval_loss",
        greater_is_better=None if recipe.patience is None else False,
        ddp_find_unused_parameters=False,
        load_best_model_at_end=run_folder is not None and recipe.patience is not None,
        restore_callback_states_from_checkpoint=recipe.patience is not None,  # how long it has been patient
        logging_steps=LOG_EVERY,
        report_to="none",
        disable_tqdm=True,
        seed=recipe.seed,
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # a process has one GPU; torchrun starts several
    return arguments
