"""Progress bars for long work."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from trimtab.rewind.rewinder import Turn
from trimtab.training.progress import Report

MOST_SEARCHES = 8
MOST_PROMPT = 40  # characters of it


@final
class Bars(Report):
    """Progress of a training run: the teacher's texts, then the steps, with loss and useful tokens a second.

    A line is printed for each measurement on held-out texts.

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


@final
class SweepBars:
    """Progress of a sweep: the rows, and the prompts of the row being written, with an estimate of the time left.

    Args:
        console: where.
        rows: how many rows there are.
    """

    def __init__(self, console: Console, rows: int):
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, console=console, speed_estimate_period=600)
        self.rows = rows
        self.seen: dict[str, int] = {}
        self.all = self.progress.add_task("all prompts of all rows", total=None)
        self.one = self.progress.add_task("")

    def __enter__(self) -> "SweepBars":
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def __call__(self, row: Any, done: int, total: int) -> None:
        """A batch more of a row; what a stopped run had written does not count for the estimate."""
        if row.name not in self.seen:
            self.progress.reset(self.one, description=row.name, total=total)
        self.seen[row.name] = done
        self.progress.update(self.one, completed=done)
        self.progress.update(self.all, completed=sum(self.seen.values()), total=self.rows * total)


@contextmanager
def counting(name: str, console: Console) -> Iterator[Callable[[int, int], None]]:
    """A bar with an estimate; yields what to call with the work done and the work in all."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@final
class SearchDisplay:
    """A search as it goes on: a line a prompt, what is committed so far, and the pace of all.

    Args:
        console: where.
        text: of token ids.
    """

    def __init__(self, console: Console, text: Callable[[Sequence[int]], str]):
        self._live = Live(console=console, transient=True)
        self._text = text

    def __enter__(self) -> "SearchDisplay":
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def __call__(self, turn: "Turn") -> None:
        """Show a turn."""
        pace = turn.spent.tokens / max(turn.seconds, 1e-9)
        table = Table(
            "drafts judged",
            "visits",
            "best value",
            "so far",
            caption=f"{pace:.0f} tokens encoded a second",
            expand=True,
        )
        for search in turn.searches[:MOST_SEARCHES]:
            favourite = search.tree.favourite()
            value = "" if favourite is None else f"{favourite.value:+.2f}"
            so_far = Text(search.prompt[-MOST_PROMPT:], style="dim").append(self._text(search.token_ids), style="green")
            table.add_row(str(search.iterations), str(search.tree.root.real_visits), value, so_far)
        if len(turn.searches) > MOST_SEARCHES:
            table.add_row("", "", "", f"… and {len(turn.searches) - MOST_SEARCHES} more")
        self._live.update(table)
