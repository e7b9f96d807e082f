"""A report as Markdown: tables, pictures with captions, how the judges agree, and what made it all."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from trimtab.evaluation.checks import write_in
from trimtab.evaluation.report.captions import Picture, intervals, setting
from trimtab.evaluation.report.origin import origin
from trimtab.evaluation.report.record_file import Record, by_set
from trimtab.evaluation.report.tables import (
    DASH,
    WAYS,
    Cell,
    beta_cell,
    columns,
    frontier,
    frontier_levels,
    heading,
    marked,
    method_cell,
    task_of,
)

NOTES = """\
* unsteered: sampled from the whole vocabulary. top-k: sampled from the k most likely tokens, β = 0; the steered rows
  and the drafts of best of n have the same candidates. greedy: the most likely token at each step.
* perplexity: under the unsteered model itself, of all tokens of the continuations. KL: from the unsteered next-token
  distribution, in nats, mean over tokens. flips: share of steps in which steering changes the most likely token.
* distinct-n: distinct n-grams of words over words, over the samples of a prompt.
* rep-4: the share of 4-grams of tokens that repeat an earlier one of their text, mean over texts (seq-rep-4).
  max_kl: steered within this budget, in nats per token.
* average maximum: the mean over prompts of the highest score among a prompt's samples. rate: the share of prompts whose
  highest score reaches the judge's threshold (½; 0.525 for vader). share: the share of texts that reach it. mean: the
  mean of all scores.
* At multiples of the perplexity of top-k: linear interpolation between the β of a method, from top-k (β = 0) on; –
  where the data, or one bootstrap draw in forty or more, do not reach the multiple; fewer that do not widen the
  interval. Same verdict: both judges at or above, or both below, their thresholds.
* encoded: tokens that went through all models, padding included, for each token of the texts.
* time: per token, over that of top-k, measured in turns on the same machine; of a search, measured once. reward share:
  the rewards' share of it; – where it cannot be told from the model's forward."""


def write_markdown(record: Record, folder: Path, pictures: Sequence[Picture] = (), title: str = "") -> None:
    """Write a report as report.md.

    Args:
        record: the figures.
        folder: the folder of the report and its pictures.
        pictures: the plots, with their captions.
        title: the heading; default: the task and the model.
    """
    write_in(folder, "report.md", "\n".join(_lines(record, pictures, title)) + "\n")


def unread_notes(record: Record) -> Iterator[str]:
    """Notes on judges that have not read all texts, because they were named for earlier rows only."""
    for judge, count in record.get("unread", {}).items():
        yield f"{judge} has not read {count} texts; name it with --judge to read them."


def _lines(record: Record, pictures: Sequence[Picture], title: str) -> Iterator[str]:
    yield from (f"# {title or heading(record)}", "", f"{setting(record)}. In brackets: {intervals()}.")
    for (prompts, direction), rows in by_set(record):
        yield from ("", f"## {prompts}, {WAYS.get(direction, direction)}", "")
        yield from _table(record, rows)
        yield from _frontier(record, prompts, direction)
    yield from _agreement(record)
    if pictures:
        yield from ("", "## Plots")
    for number, picture in enumerate(pictures, start=1):
        yield from ("", f"![{picture.title}]({picture.shown.name})", "", f"*Figure {number}. {picture.caption}*")
    yield from ("", "## How to read it", "", *_notes(record))
    yield from ("", "## What made it", "", *(f"* {line}" for line in origin(record)))


def _table(record: Record, rows: Sequence[Record]) -> Iterator[str]:
    shown = columns(record, rows)
    yield "| method | β | " + " | ".join(title for title, _ in shown) + " |"
    yield "|---|---" + "|---" * len(shown) + "|"
    for row in rows:
        cells = [_cell(read(row)) for _, read in shown]
        yield f"| {method_cell(row)} | {beta_cell(row)} | " + " | ".join(cells) + " |"


def _frontier(record: Record, prompts: str, direction: str) -> Iterator[str]:
    """Control at equal perplexity, by the first judge."""
    levels, lines = frontier_levels(record), list(frontier(record, prompts, direction))
    if lines:
        figure = f"{task_of(record).figures[0]} by {record['judges'][0]}"
        yield from ("", f"{figure}, at multiples of the perplexity of `top-k`:", "")
        yield f"| method | {' | '.join(levels)} |"
        yield "|---" * (len(levels) + 1) + "|"
    for name, cells in lines:
        yield f"| {name} | " + " | ".join(map(_cell, cells)) + " |"


def _cell(cell: Cell) -> str:
    interval = f" ({cell.low}–{cell.high})" if cell.low and cell.high else ""
    return cell.text + interval + (" †" if cell.marked else "")


def _agreement(record: Record) -> Iterator[str]:
    if record["agreement"]:
        head = ("| judges | Spearman | same verdict | texts |", "|---|---|---|---|")
        yield from ("", "## How the judges agree", "", *head)
    for pair, found in record["agreement"].items():
        figures = " | ".join(_number(found[name]) for name in ("spearman", "same verdict"))
        yield f"| {pair} | {figures} | {found['texts'] or 0:.0f} |"
    if record["agreement_with_data"]:
        yield from ("", "| judge | scores of | Spearman | AUC at ½ | accuracy | texts | failed |", "|---" * 7 + "|")
    for source, judges in record["agreement_with_data"].items():
        for judge, found in judges.items():
            figures = " | ".join(_number(found[name]) for name in ("spearman", "auc", "accuracy"))
            yield f"| {judge} | {source} | {figures} | {found['texts']} | {found['failed']} |"


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:.3f}"


def _notes(record: Record) -> Iterator[str]:
    yield NOTES
    rows = record["rows"]
    if any(marked(row, judge) for row in rows for judge in record["judges"]):
        yield "* † the judge is one of the rewards that steered or ranked: it is not independent."
    if any(row.get("drafts") for row in rows):
        yield "* best of n: KL and flips are those of the drafts; they leave out the choice among the drafts."
    if any(row.get("search") for row in rows):
        yield "* rewound: KL and flips are those of the steering alone; they leave out the search."
    for judge in record["judges"]:
        if faults := record["faults"].get(judge):
            yield f"* {judge} failed on {len(faults)} texts, which are left out of its figures; first: {faults[0]}"
    yield from (f"* {note}" for note in unread_notes(record))
