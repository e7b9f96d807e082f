"""Progress bars for training, sweeps and searches."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, final

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from trimtab.data.visible import one_line
from trimtab.models.codec import prompt_text
from trimtab.rewind.runner import SearchProgress
from trimtab.training.callbacks import TrainingProgress

MAX_SEARCHES = 8  # rows of the table
MAX_PROMPT = 40  # characters


@final
class Bars(TrainingProgress):
    """Progress of a training run: the teacher's texts, then the steps, with the loss and useful tokens per second.

    It prints a line for each measurement of the held-out texts.

    Args:
        console: the console to draw on.
    """

    def __init__(self, console: Console):
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        self.progress = Progress(*columns, console=console)
        self.tasks: dict[str, TaskID] = {}
        self.kept: dict[str, int] = {}

    def writing(self, done: int, total: int) -> None:
        """Move the bar of the language model's own texts."""
        self._go_on("own texts", done, total)

    def estimated(self, estimate: Mapping[str, float]) -> None:
        """Print how long the run will take, and each of its stages."""
        stages = ", ".join(f"{name} {duration(seconds)}" for name, seconds in estimate.items())
        self.progress.console.print(f"about {duration(sum(estimate.values()))}: {stages}", highlight=False)

    def teaching(self, done: int, total: int) -> None:
        """Move the bar of the teacher's texts."""
        self._go_on("teacher", done, total)

    def keeping(self, done: int, total: int) -> None:
        """Move the bar of the texts whose hidden states are kept."""
        self._move("hidden states", done, total)

    def started(self, copied: int, tensors: int) -> None:
        """Print how many tensors were copied from the reward of --start."""
        self.progress.console.print(f"copied {copied} of {tensors} tensors from --start", highlight=False)

    def resumed(self, checkpoint: str) -> None:
        """Print the checkpoint from which an interrupted run resumes."""
        self.progress.console.print(f"resuming from {one_line(checkpoint)}", highlight=False, markup=False)

    def already_finished(self) -> None:
        """Print that a finished run is not trained again."""
        self.progress.console.print("this run is finished: no training; its reward is measured and saved again")

    def step(self, done: int, total: int) -> None:
        """Move the bar of the training steps."""
        self._move("steps", done, total)

    def logged(self, row: dict[str, Any]) -> None:
        """Show the loss beside the bar, or print a measurement of the held-out texts above it."""
        if "eval_loss" not in row:
            note = f"loss {float(row['loss']):.4f}  {row['tokens_per_second']:.0f} useful tokens/s"
            if "steps" in self.tasks:
                self.progress.update(self.tasks["steps"], note=note)
            return
        measured = {name: value for name, value in row.items() if isinstance(value, float) and name != "epoch"}
        self.progress.console.print(
            f"step {row['step']}: " + "  ".join(f"{one_line(name)} {value:.4f}" for name, value in measured.items()),
            highlight=False,
            markup=False,
        )

    def close(self) -> None:
        """Stop drawing: a run may end, or fail, before its bars are full."""
        if self.progress.live.is_started:
            self.progress.stop()

    def _go_on(self, name: str, done: int, total: int) -> None:
        """Move a bar; where it does not begin at 0, say what was kept. Each of several teachers begins anew."""
        if done and done <= self.kept.get(name, total):
            self.progress.console.print(f"{name}: {done} of {total} are kept from before", highlight=False)
        self.kept[name] = done
        self._move(name, done, total)

    def _move(self, name: str, done: int, total: int) -> None:
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(name, total=total, note="")
            self.progress.start()
        self.progress.update(self.tasks[name], completed=done, total=total)
        if self.progress.finished:
            self.progress.stop()


def duration(seconds: float) -> str:
    """Return seconds below two minutes, else minutes, else hours: "40 s", "12 min", "2.5 h"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 120 * 60 else f"{seconds / 3600:.1f} h"


@final
class SweepBars:
    """Progress of a sweep: all rows, and the prompts of the current row, with an estimate of the time left.

    Args:
        console: the console to draw on.
        rows: number of rows.
    """

    def __init__(self, console: Console, rows: int):
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self.progress = Progress(*columns, console=console, speed_estimate_period=600)
        self.rows = rows
        self.seen: dict[str, int] = {}
        self.all_rows = self.progress.add_task("all prompts of all rows", total=None)
        self.current_row = self.progress.add_task("")

    def __enter__(self) -> "SweepBars":
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def __call__(self, row: Any, done: int, total: int) -> None:
        """Show the prompts done in a row. Texts that an interrupted run wrote do not count towards the estimate."""
        if row.name not in self.seen:
            self.progress.reset(self.current_row, description=one_line(row.name), total=total)
        self.seen[row.name] = done
        self.progress.update(self.current_row, completed=done)
        self.progress.update(self.all_rows, completed=sum(self.seen.values()), total=self.rows * total)


@contextmanager
def counting(name: str, console: Console) -> Iterator[Callable[[int, int], None]]:
    """Show a bar with an estimate of the time left; yields a function of the work done and the total work."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@final
class SearchDisplay:
    """Progress of a search: a row per prompt with its committed text, and the tokens encoded per second.

    Args:
        console: the console to draw on.
        decode: turns token ids into text.
    """

    def __init__(self, console: Console, decode: Callable[[Sequence[int]], str]):
        self._live = Live(console=console, transient=True)
        self._decode = decode

    def __enter__(self) -> "SearchDisplay":
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def __call__(self, progress: SearchProgress) -> None:
        """Show the state of the searches."""
        tokens_per_second = progress.usage.tokens / max(progress.seconds, 1e-9)
        table = Table(
            "drafts judged",
            "visits",
            "best value",
            "text so far",
            caption=f"{tokens_per_second:.0f} tokens encoded per second",
            expand=True,
        )
        for search in progress.searches[:MAX_SEARCHES]:
            most_visited = search.tree.most_visited()
            value = "" if most_visited is None else f"{most_visited.value:+.2f}"
            so_far = Text(one_line(prompt_text(search.prompt)[-MAX_PROMPT:]), style="dim").append(
                one_line(self._decode(search.token_ids)), style="green"
            )
            table.add_row(str(search.iterations), str(search.tree.root.real_visits), value, so_far)
        if len(progress.searches) > MAX_SEARCHES:
            table.add_row("", "", "", f"… and {len(progress.searches) - MAX_SEARCHES} more")
        self._live.update(table)
