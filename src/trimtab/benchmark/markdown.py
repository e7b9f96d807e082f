"""A benchmark as Markdown: verdicts, tables, how to read them, and the machine."""

from collections.abc import Iterator, Sequence

from trimtab.benchmark.record import Record
from trimtab.benchmark.tables import (
    GOAL_HEADS,
    columns,
    goal_cells,
    left_out,
    machine_lines,
    row_title,
    table_title,
)

NOTES = """\
* first token: from the prompt to the first token of every text, in one forward. per token: one step behind it, in which
  every text of the batch gets a token. Both are medians.
* over plain, over transformers: the time per token over that of the plain loop, and of transformers' `generate`.
  The rows take turns, and the runs of one round are compared: the median of the rounds, and in brackets the lowest and
  the highest.
* memory: the largest resident memory of a process that loads the model and writes one batch, libraries included; on a
  GPU, of its memory. Every row has a process of its own.
* LM, reward, head, sampling, rest: shares of a step, from one more run that is watched. LM: the forward of the language
  model. reward: the reward's trunk and its cache. head: the scores of the candidates. sampling: top-k and the choice.
  rest: everything else, most of it Python.
* Rewards are untrained and prompts are random tokens: time depends on neither. Only drafts depend on the text: `draft`
  writes behind sentences, and `lookup` behind a passage that repeats. No text ends early."""


def markdown(record: Record) -> str:
    """The report of a benchmark."""
    return "\n".join(_lines(record)) + "\n"


def markdown_table(heads: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    """A table whose columns are to the right, but for the first."""
    yield f"| {' | '.join(heads)} |"
    yield "|---" + "|---:" * (len(heads) - 1) + "|"
    yield from (f"| {' | '.join(cells)} |" for cells in rows)


def _lines(record: Record) -> Iterator[str]:
    yield from (f"# The time of a token: {record['about']['model']} in {record['about']['dtype']}", "")
    yield from (f"* {line}" for line in machine_lines(record))
    yield from ("", "## Goals", "")
    yield from markdown_table(GOAL_HEADS, (goal_cells(goal) for goal in record["goals"]))
    shown = columns(record)
    for table in record["tables"]:
        yield from ("", f"## {table_title(table)}", "")
        cells = ([row_title(row, record), *(read(row) for _, read in shown)] for row in table["rows"])
        yield from markdown_table(["", *(title for title, _ in shown)], cells)
        if table["left_out"]:
            yield from ("", f"Left out: {'; '.join(left_out(table))}.")
    yield from ("", "## How to read it", "", NOTES)
