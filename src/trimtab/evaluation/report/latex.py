"""A report as LaTeX tables, with the rules of the package booktabs."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from trimtab.evaluation.checks import write_in
from trimtab.evaluation.report.captions import intervals, model, setting
from trimtab.evaluation.report.origin import origin
from trimtab.evaluation.report.record_file import Record, by_set
from trimtab.evaluation.report.tables import (
    WAYS,
    Cell,
    Column,
    beta_cell,
    columns,
    frontier,
    frontier_levels,
    human,
    marked,
    method_cell,
    task_of,
)

SPECIAL = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "β": r"$\beta$",
    "×": r"$\times$",
    "†": r"$^\dagger$",
    "–": "--",
    "½": r"$\frac{1}{2}$",
    "…": r"\dots{}",
    "\n": " ",
}
LEFT_OUT = ("-2", "-3", "distinct-1", "flips", "encoded", "tokens/s", "reward share")  # report.md has these


def write_latex(record: Record, folder: Path, title: str = "") -> None:
    """Write a report as report.tex: a table for each prompt set, and one of control at equal perplexity.

    Args:
        record: the figures.
        folder: the folder of the report.
        title: begins every caption; default: what is shown.
    """
    write_in(folder, "report.tex", "\n".join(_lines(record, title)) + "\n")


def escape(text: str) -> str:
    """Return a text with LaTeX's special characters escaped."""
    return "".join(SPECIAL.get(character, character) for character in text)


def _lines(record: Record, title: str) -> Iterator[str]:
    yield r"% \usepackage{booktabs}; \input this file. report.md explains the figures."
    yield from (f"% {line}" for text in origin(record) for line in text.splitlines())
    for (prompts, direction), rows in by_set(record):
        yield from ("", *_figures(record, prompts, direction, rows, title))
        yield from _frontier(record, prompts, direction, title)


def _figures(record: Record, prompts: str, direction: str, rows: Sequence[Record], title: str) -> Iterator[str]:
    shown: list[Column] = [column for column in columns(record, rows) if column[0] not in LEFT_OUT]
    name = title or task_of(record).title.capitalize()
    caption = (
        f"{name}: {human(prompts)}, {WAYS.get(direction, direction)}. Model: {model(record)}. {setting(record)}; "
        f"{max(row['prompts_done'] for row in rows)} prompts. Small numbers: {intervals()}."
    )
    if any(marked(row, judge) for row in rows for judge in record["judges"]):
        caption += " †: the judge is one of the rewards that steered or ranked."
    head = ["method", "β", *(heading for heading, _ in shown)]
    body = [
        [escape(method_cell(row)), escape(beta_cell(row)), *(_cell(read(row)) for _, read in shown)] for row in rows
    ]
    yield from _table(caption, f"tab:{prompts}-{direction}", "lr" + "l" * len(shown), head, body)


def _frontier(record: Record, prompts: str, direction: str, title: str) -> Iterator[str]:
    lines = list(frontier(record, prompts, direction))
    if not lines:
        return
    name = title or task_of(record).title.capitalize()
    caption = (
        f"{name} at multiples of the perplexity of top-k sampling, judged by {record['judges'][0]}: {human(prompts)}, "
        f"{WAYS.get(direction, direction)}. Model: {model(record)}. "
        f"Linear interpolation between the β of a method. Small numbers: {intervals()}."
    )
    levels = frontier_levels(record)
    body = [[escape(method), *map(_cell, cells)] for method, cells in lines]
    label = f"tab:{prompts}-{direction}-equal-perplexity"
    yield from ("", *_table(caption, label, "l" + "l" * len(levels), ["method", *levels], body))


def _table(
    caption: str, label: str, alignment: str, head: Sequence[str], body: Sequence[Sequence[str]]
) -> Iterator[str]:
    yield r"\begin{table}"
    yield r"\centering\small"
    yield rf"\caption{{{escape(caption)}}}"
    yield rf"\label{{{label.replace('_', '-')}}}"
    yield rf"\begin{{tabular}}{{{alignment}}}"
    yield r"\toprule"
    yield " & ".join(map(escape, head)) + r" \\"
    yield r"\midrule"
    yield from (" & ".join(cells) + r" \\" for cells in body)
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\end{table}"


def _cell(cell: Cell) -> str:
    mark = SPECIAL["†"] if cell.marked else ""
    interval = rf" {{\scriptsize({cell.low}--{cell.high})}}" if cell.low and cell.high else ""
    return escape(cell.text) + mark + interval
