"""Callbacks of a training run: metrics to its folder, progress to a listener."""

from collections.abc import Mapping
from typing import Any, final

from transformers import EarlyStoppingCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from trimtab.training.batches import LengthGrouped
from trimtab.training.run_folder import RunFolder


class TrainingProgress:
    """Listens to a run. Every method does nothing by default."""

    def writing(self, done: int, total: int) -> None:
        """The language model has written `done` of `total` texts of its own."""

    def estimated(self, estimate: Mapping[str, float]) -> None:
        """The seconds that each stage of the run will take, as measured on a few texts."""

    def teaching(self, done: int, total: int) -> None:
        """The teacher has scored `done` of `total` texts."""

    def keeping(self, done: int, total: int) -> None:
        """The hidden states of `done` of `total` texts are kept."""

    def started(self, copied: int, tensors: int) -> None:
        """`copied` of the reward's `tensors` tensors are copied from another reward."""

    def resumed(self, checkpoint: str) -> None:
        """The run resumes from a checkpoint."""

    def already_finished(self) -> None:
        """The run was finished earlier; nothing is trained."""

    def step(self, done: int, total: int) -> None:
        """`done` of `total` steps are done."""

    def logged(self, row: dict[str, Any]) -> None:
        """Metrics were computed: on held-out texts if the row has an "eval_loss", else in training."""


@final
class Recorder(TrainerCallback):
    """Passes the Trainer's logs to the run's folder and to a listener, from the first process only.

    Args:
        run: the folder for metrics; None for no record.
        progress: the listener.
    """

    def __init__(self, run: RunFolder | None, progress: TrainingProgress):
        self.run, self.progress = run, progress

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Report the step; log at each checkpoint, where a resumed run starts its running loss anew."""
        control.should_log = control.should_log or control.should_save
        if state.is_world_process_zero:
            self.progress.step(state.global_step, state.max_steps)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Report and record the row."""
        if state.is_world_process_zero and logs and ("loss" in logs or "eval_loss" in logs):
            row = {"step": state.global_step, **logs}
            self.progress.logged(row)
            if self.run is not None:
                self.run.log(row)


@final
class Patience(EarlyStoppingCallback):
    """Stops a run whose held-out loss does not improve; also one that had stopped before it was interrupted."""

    is_over = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """See whether the patience was used up before."""
        super().on_train_begin(args, state, control, **kwargs)
        self.is_over = self.early_stopping_patience_counter >= self.early_stopping_patience

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Stop then. The Trainer makes a step first, which is not recorded; the best weights are loaded after it."""
        if self.is_over:
            control.should_training_stop = True
            control.should_evaluate = control.should_save = control.should_log = False


@final
class Epochs(TrainerCallback):
    """Tells a sampler the epoch. Accelerate tells none that stands behind the shards of several processes.

    Args:
        sampler: shuffles for its epoch.
    """

    def __init__(self, sampler: LengthGrouped):
        self._sampler = sampler

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """An epoch begins, or goes on behind a checkpoint."""
        self._sampler.set_epoch(int(state.epoch or 0))
