"""The tables of a report as cells, which Markdown and LaTeX write in their own ways."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from trimtab.evaluation.report.record_file import Record
from trimtab.evaluation.score.metrics import FRONTIER_LEVELS
from trimtab.evaluation.tasks import FLUENCY, TASKS, Task

TEXT_FIGURES = {
    "kl": "KL",
    "top1_flip": "flips",
    "distinct_1": "distinct-1",
    "distinct_2": "-2",
    "distinct_3": "-3",
    "seq_rep_4": "rep-4",
}
WAYS = {"up": "steered up", "down": "steered down"}
DASH = "–"


@final
@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: the value, with its unit; empty if it was not measured.
        low, high: the ends of its interval; empty if it has none.
        marked: the judge is one of the rewards that steered or ranked.
    """

    text: str
    low: str = ""
    high: str = ""
    marked: bool = False


Column = tuple[str, Callable[[Record], Cell]]


def columns(record: Record, rows: Sequence[Record]) -> list[Column]:
    """All columns of the table of a prompt set, after those of the method and of β."""
    others = [name for name in rows[0]["figures"] if name.startswith(FLUENCY)]
    found = control_columns(record)
    found += [(name, _figure(name, 2)) for name in ("perplexity", *others)]
    found += [(title, _figure(name, 2, interval=False)) for name, title in TEXT_FIGURES.items()]
    if any("encoded" in row["figures"] for row in rows):
        found.append(("encoded", _figure("encoded", 1, interval=False)))
    return [*found, *(time_columns() if any(row["time"] for row in rows) else [])]


def control_columns(record: Record) -> list[Column]:
    """The figures of the first judge, and the first figure of each other judge."""
    return [
        (f"{figure}, {judge}", _control(judge, figure))
        for judge in record["judges"]
        for figure in _figures_of(record, judge)
    ]


def time_columns() -> list[Column]:
    """The columns of the times; empty cells where a method was not timed."""
    shown = {
        "time": lambda time: f"{time['ratio']:.2f}×",
        "reward share": lambda time: DASH if time["reward_share"] is None else f"{time['reward_share']:.0%}",
        "tokens/s": lambda time: f"{time['tokens_per_second']:.0f}",
    }

    def column(write: Callable[[Mapping[str, Any]], str]) -> Callable[[Record], Cell]:
        return lambda row: Cell(write(row["time"]) if row["time"] else "")

    return [(title, column(write)) for title, write in shown.items()]


def frontier(record: Record, prompts: str, direction: str) -> Iterator[tuple[str, list[Cell]]]:
    """For each steered method, its control at multiples of the perplexity of top-k sampling."""
    found = record["at_equal_perplexity"].get(f"{prompts}, {direction}", {}) if record["judges"] else {}
    for name, levels in found.items():
        yield name, [Cell(DASH) if level is None else _level(*level) for level in levels]


def frontier_levels(record: Record) -> list[str]:
    """The multiples of the perplexity of top-k sampling."""
    return [f"{level:g}×" for level in record["at_equal_perplexity"].get("over_top_k", FRONTIER_LEVELS)]


def task_of(record: Record) -> Task:
    """The task of a report."""
    return TASKS[record["task"]]


def method_cell(row: Record) -> str:
    """The name of a row's method; for an unfinished row, with the number of its prompts."""
    done, count = row["prompts_done"], row["prompts_count"]
    return row["method"] + (f" ({done} of {count} prompts)" if done < count else "")


def beta_cell(row: Record) -> str:
    """The β of a row; empty if its method has none."""
    return "" if row.get("beta") is None else f"{row['beta']:g}"


def heading(record: Record) -> str:
    """The task, the model and its number format."""
    settings = record["settings"]
    return f"{record['task']}: {Path(settings['model']).name} in {settings['dtype']}"


def human(name: str) -> str:
    """The name of a file or a data set as words."""
    return Path(name).name.replace("_", " ").replace("--", " ").strip()


def marked(row: Record, judge: str) -> bool:
    """Whether a judge is one of the rewards that steered or ranked a row."""
    steered_by = {reward[0] for reward in row.get("rewards", ())}
    return judge.startswith("reward:") and judge.split(":")[1].rpartition("/")[2] in steered_by


def _level(value: float, low: float, high: float) -> Cell:
    return Cell(f"{value:.3f}", f"{low:.3f}", f"{high:.3f}")


def _figures_of(record: Record, judge: str) -> Sequence[str]:
    figures = task_of(record).figures
    return figures if judge == record["judges"][0] else figures[:1]


def _control(judge: str, figure: str) -> Callable[[Record], Cell]:
    return lambda row: _cell(row["judges"][judge].get(figure), 3, marked=marked(row, judge))


def _figure(name: str, digits: int, interval: bool = True) -> Callable[[Record], Cell]:
    return lambda row: _cell(row["figures"].get(name), digits, interval)


def _cell(entry: Mapping[str, Any] | None, digits: int, interval: bool = True, marked: bool = False) -> Cell:
    if entry is None or entry["value"] is None:
        return Cell(DASH, marked=marked)
    ends = [entry["low"], entry["high"]] if interval else [None, None]
    low, high = ("" if end is None else f"{end:.{digits}f}" for end in ends)
    return Cell(f"{entry['value']:.{digits}f}", low, high, marked)
