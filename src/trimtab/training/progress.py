"""How a run tells what it does: metrics into its folder, progress to whoever listens."""

from typing import Any, final

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from trimtab.training.run import RunFolder


class Report:
    """Listens to a run; the default says nothing."""

    def teaching(self, done: int, total: int) -> None:
        """The teacher has scored so many texts of so many."""

    def started(self, agreeing: int, tensors: int) -> None:
        """So many of the reward's tensors begin as another's."""

    def resumed(self, checkpoint: str) -> None:
        """The run goes on from a checkpoint."""

    def finished_before(self) -> None:
        """The run had been finished; nothing is trained."""

    def step(self, done: int, total: int) -> None:
        """So many steps of so many are done."""

    def logged(self, row: dict[str, Any]) -> None:
        """Metrics were written: of training, or of held-out texts where there is an "eval_loss"."""


@final
class Recorder(TrainerCallback):
    """Writes what the Trainer logs into the run's folder and tells a report; the first process alone does.

    Args:
        run: where metrics go; None for nowhere.
        report: who is told.
    """

    def __init__(self, run: RunFolder | None, report: Report):
        self.run, self.report = run, report

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """A step is done; a checkpoint begins a new window of the running loss, so that a resumed run logs the same."""
        control.should_log = control.should_log or control.should_save
        if state.is_world_process_zero:
            self.report.step(state.global_step, state.max_steps)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Something was measured."""
        if state.is_world_process_zero and logs and ("loss" in logs or "eval_loss" in logs):
            row = {"step": state.global_step, **logs}
            self.report.logged(row)
            if self.run is not None:
                self.run.log(row)
