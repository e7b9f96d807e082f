"""Progress bars for a training run: the teacher's texts, then the steps, with loss and useful tokens a second."""

from typing import Any, final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from trimtab.training.progress import Report


@final
class Bars(Report):
    """Draws on a console; a line for each measurement on held-out texts.

    Args:
        console: where.
    """

    def __init__(self, console: Console):
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self.progress = Progress(*columns, console=console)
        self.tasks: dict[str, TaskID] = {}

    def teaching(self, done: int, total: int) -> None:
        """The teacher's bar."""
        self._move("teacher", done, total)

    def started(self, agreeing: int, tensors: int) -> None:
        """How much --start gave."""
        self.progress.console.print(f"--start gave {agreeing} of {tensors} tensors", highlight=False)

    def resumed(self, checkpoint: str) -> None:
        """Where a stopped run goes on."""
        self.progress.console.print(f"going on from {checkpoint}", highlight=False)

    def finished_before(self) -> None:
        """A finished run is only measured again."""
        self.progress.console.print("this run is finished: nothing is trained, its reward is measured and saved again")

    def step(self, done: int, total: int) -> None:
        """The training's bar."""
        self._move("steps", done, total)

    def logged(self, row: dict[str, Any]) -> None:
        """Put the loss beside the bar, and a measurement above it."""
        if "eval_loss" not in row:
            note = f"loss {float(row['loss']):.4f}  {row['tokens_per_second']:.0f} useful tokens/s"
            if "steps" in self.tasks:
                self.progress.update(self.tasks["steps"], note=note)
            return
        figures = {name: value for name, value in row.items() if isinstance(value, float) and name != "epoch"}
        self.progress.console.print(
            f"step {row['step']}: " + "  ".join(f"{name} {value:.4f}" for name, value in figures.items()),
            highlight=False,
        )

    def _move(self, name: str, done: int, total: int) -> None:
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(name, total=total, note="")
            self.progress.start()
        self.progress.update(self.tasks[name], completed=done, total=total)
        if self.progress.finished:
            self.progress.stop()
