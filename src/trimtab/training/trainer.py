"""transformers' Trainer around a reward network: any objective, the reward's own weights in its checkpoints."""

import contextlib
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from accelerate import PartialState
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainerControl, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from trimtab.rewards.card import TrunkTraining
from trimtab.rewards.folder import WEIGHTS_FILE, load_own_tensors
from trimtab.rewards.heads import QHead
from trimtab.rewards.network import PrefixRewards, RewardNetwork, own_tensors
from trimtab.training.objectives import Loss, zero_delta
from trimtab.training.recipe import Recipe

Batch = Mapping[str, Tensor]
LOG_EVERY = 20
QUICK_HELD_OUT = 256
POOL = 50  # batches sorted together


@runtime_checkable
class Objective(Protocol):
    """What a network is trained towards: how examples become a batch, and a batch a loss."""

    def collate(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """A left-padded batch, with "ids" and "mask" among its tensors."""

    def loss(self, scored: PrefixRewards, head: nn.Module, batch: Batch) -> Loss:
        """What the rewards of the batch's texts cost."""


@runtime_checkable
class Measure(Protocol):
    """What is measured on held-out texts beside the loss."""

    def __call__(self, network: RewardNetwork, most: int | None = None) -> dict[str, Any]:
        """Figures and tables of at most the first `most` texts."""


class RewardTrainer(Trainer):
    """transformers' Trainer with the reward objectives for a loss.

    Args:
        network: what is trained.
        trunk: how its trunk is; says which of its weights are the reward's own.
        objective, measure, recipe: what it is trained and measured by.
        examples, held_out: tokenized data.
        vocabulary: how many token ids the regulariser draws from.
        run_folder: where checkpoints go; None for none.
        callbacks: of the Trainer.
    """

    def __init__(
        self,
        network: RewardNetwork,
        trunk: TrunkTraining,
        objective: Objective,
        measure: Measure,
        recipe: Recipe,
        examples: Dataset[Any],
        held_out: Dataset[Any],
        vocabulary: int,
        run_folder: Path | None,
        callbacks: Sequence[TrainerCallback] = (),
    ):
        stopping = [] if recipe.patience is None else [EarlyStoppingCallback(recipe.patience)]
        super().__init__(
            model=network,
            args=training_arguments(recipe, run_folder),
            train_dataset=examples,
            eval_dataset=held_out,
            data_collator=objective.collate,
            callbacks=[*callbacks, *stopping],
        )
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        self.network, self.trunk, self.objective, self.measure, self.recipe = network, trunk, objective, measure, recipe
        self.vocabulary = vocabulary
        self.most_held_out: int | None = QUICK_HELD_OUT
        self.throughput = Throughput()

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, **_: Any
    ) -> Tensor:
        """The objective's loss and, for a Q-head in training, the regulariser; each a mean over all processes."""
        scored = model(inputs["ids"], inputs["mask"])
        loss = self._shared_mean(self.objective.loss(scored, self.network.head, inputs))
        if model.training:
            self.throughput.count(inputs["mask"])
            if isinstance(self.network.head, QHead) and self.recipe.regulariser:
                pull = zero_delta(self.network.head, scored, self.vocabulary)
                loss = loss + self.recipe.regulariser * self._shared_mean(pull)
        return loss

    def _shared_mean(self, loss: Loss) -> Tensor:
        items = self.accelerator.reduce(loss.items.float(), reduction="mean")
        return loss.total / items.clamp_min(1 / self.accelerator.num_processes)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Measure on held-out texts: the first few hundred on the way, all at the end. Every process does it all."""
        with evaluating(self.network, self.recipe.bf16):
            figures = {"eval_loss": self._held_out_loss(), **self.measure(self.network, self.most_held_out)}
        self.log(dict(figures))
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
        """Add how fast useful tokens went through since the last time."""
        super().log(logs | self.throughput.take() if "loss" in logs else logs, start_time)

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Sampler[int]:
        lengths = [self.train_dataset[i]["length"] for i in range(len(self.train_dataset))]
        return LengthGrouped(lengths, self.recipe.batch_size, self.recipe.seed)

    def own_tensors(self) -> dict[str, Tensor]:
        """What the reward adds to its base, as it is now."""
        return {name: weight.contiguous() for name, weight in own_tensors(self.network, self.trunk).items()}

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.own_tensors(), folder / WEIGHTS_FILE)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        load_own_tensors(self.network, self.trunk, Path(resume_from_checkpoint) / WEIGHTS_FILE)

    def _load_best_model(self) -> None:
        load_own_tensors(self.network, self.trunk, Path(str(self.state.best_model_checkpoint)) / WEIGHTS_FILE)


class LengthGrouped(Sampler[int]):
    """Batches of texts of similar length, in an order that a seed and an epoch decide, whatever was drawn before.

    Padding is paid for like text. Fifty batches at a time are drawn, sorted by length, cut, and shuffled as batches: so
    short and long ones take turns, as in `transformers`' own grouping they do not.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int):
        self.lengths, self.batch_size, self.seed, self.epoch = list(lengths), batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Shuffle for this epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        draw = random.Random(f"{self.seed} {self.epoch}")
        order = draw.sample(range(len(self)), len(self))
        batches = []
        for start in range(0, len(order), POOL * self.batch_size):
            pool = sorted(order[start : start + POOL * self.batch_size], key=self.lengths.__getitem__)
            batches += [pool[i : i + self.batch_size] for i in range(0, len(pool), self.batch_size)]
        whole = [batch for batch in batches if len(batch) == self.batch_size]
        rest = [batch for batch in batches if len(batch) < self.batch_size]
        yield from chain.from_iterable(draw.sample(whole, len(whole)) + rest)


class Throughput:
    """Counts tokens that are text, and slots that hold them or padding."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.tokens: Tensor | int = 0
        self.slots, self.start = 0, time.perf_counter()

    def count(self, mask: Tensor) -> None:
        """Add a batch; nothing is read back from the device."""
        self.tokens, self.slots = self.tokens + mask.sum(), self.slots + mask.numel()

    def take(self) -> dict[str, float]:
        """Useful tokens a second and the share of padding since the last time, in this process."""
        tokens, slots, seconds = int(self.tokens), self.slots, time.perf_counter() - self.start
        self._reset()
        return {"tokens_per_second": round(tokens / seconds, 1), "padding": round(1 - tokens / max(slots, 1), 4)}


@contextlib.contextmanager
def evaluating(network: RewardNetwork, bf16: bool) -> Iterator[None]:
    """Eval mode without gradients, in the arithmetic of training."""
    was_training = network.training
    device = next(network.parameters()).device.type
    network.eval()
    try:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=bf16):
            yield
    finally:
        network.train(was_training)


def by_length(examples: Sequence[Any], batch_size: int) -> Iterator[list[Any]]:
    """Batches of examples of similar "length"."""
    ordered = sorted(examples, key=lambda example: example["length"])
    for start in range(0, len(ordered), batch_size):
        yield ordered[start : start + batch_size]


def processes() -> PartialState:
    """The processes of this run: one, or those that torchrun started."""
    return PartialState(cpu=not torch.cuda.is_available())


def training_arguments(recipe: Recipe, run_folder: Path | None) -> TrainingArguments:
    """The Trainer's settings for a recipe; the optimizer's are the papers'."""
    share = 1 / recipe.checkpoints
    return TrainingArguments(
        output_dir=str(run_folder or "unused"),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=max(1, recipe.batch_size // processes().num_processes),
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
        remove_unused_columns=False,
        save_strategy="no" if run_folder is None else "steps",
        eval_strategy="no" if run_folder is None else "steps",
        save_steps=share,
        eval_steps=share,
        save_total_limit=2,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        load_best_model_at_end=run_folder is not None and recipe.patience is not None,
        logging_steps=LOG_EVERY,
        report_to="none",
        disable_tqdm=True,
        seed=recipe.seed,
    )
