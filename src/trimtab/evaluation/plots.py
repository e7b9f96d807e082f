"""The pictures of a report: control against perplexity, control against time, reward by prefix."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from trimtab.evaluation.report import Report, RowFigures
from trimtab.files import file_name
from trimtab.plots import new_figure
from trimtab.training.measure import FRACTIONS

PLAIN: dict[str, dict[str, Any]] = {
    "unsteered": {"color": "#999999", "marker": "*"},
    "top-k": {"color": "#000000", "marker": "X", "zorder": 9},
    "greedy": {"color": "#555555", "marker": "p"},
}
# Okabe and Ito's, without their yellow, then Tol's: told apart by the colour-blind, too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#117733", "#332288", "#999933")
MARKS = "osD^vPd<h>"
DPI = 160
Across = Callable[[RowFigures], tuple[float, float, float]]  # value, low, high


def draw(report: Report, folder: Path) -> list[Path]:
    """Draw all that the report has figures for.

    Returns:
        The files, in the folder.
    """
    made = [_pareto(report, folder / f"pareto-{file_name(judge)}.png", judge) for judge in report.judges]
    if any(row.time for row in report.rows) and report.judges:
        made.append(_against_time(report, folder / "time.png", report.judges[0]))
    if any(len(row.profile) for row in report.rows):
        made.append(_profiles(report, folder / "profile.png"))
    return made


def _pareto(report: Report, path: Path, judge: str) -> Path:
    def perplexity(row: RowFigures) -> tuple[float, float, float]:
        ratio = row.figures["perplexity"]
        return (ratio.value, *ratio.interval())

    return _curves(report, path, judge, perplexity, "perplexity of the continuation (unsteered model)")


def _against_time(report: Report, path: Path, judge: str) -> Path:
    def ratio(row: RowFigures) -> tuple[float, float, float]:
        value = float(row.time["ratio"])
        return value, value, value

    timed = [row for row in report.rows if row.time]
    return _curves(report, path, judge, ratio, "time of a token, over top-k sampling's", timed, anchored=False)


def _curves(
    report: Report,
    path: Path,
    judge: str,
    across: Across,
    label: str,
    only: Sequence[RowFigures] | None = None,
    anchored: bool = True,
) -> Path:
    """A panel for each prompt set, a curve for each method, bars for intervals; `anchored`: from β = 0 on."""
    sets = report.by_set()
    styles = _styles(report)
    figure, panels = _panels(len(sets))
    figure_name = report.task.figures[0]
    for panel, ((prompts, direction), rows) in zip(panels, sets, strict=True):
        rows = [row for row in rows if only is None or any(row is each for each in only)]
        for name, points in _by_method(rows, anchored):
            x = [across(row) for row in points]
            y = [(r.value, *r.interval()) for r in (row.control[judge][figure_name] for row in points)]
            panel.errorbar(
                [each[0] for each in x],
                [each[0] for each in y],
                xerr=_bars(x),
                yerr=_bars(y),
                label=name,
                capsize=2,
                lw=1.2,
                elinewidth=0.8,
                ms=5,
                **styles[name],
            )
            for row, (across_value, *_), (value, *_) in zip(points, x, y, strict=True):
                if label_of := _label(row):
                    panel.annotate(
                        label_of, (across_value, value), (4, 4), textcoords="offset points", fontsize=7, color="#555555"
                    )
        better = "↓" if report.task.fewer or direction == "down" else "↑"
        panel.set(title=f"{prompts} {better}", xlabel=label, xscale="log")
        panel.minorticks_off()
        values = sorted(across(row)[0] for row in rows)
        ticks = _ticks(values[0], values[-1])
        panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.grid(alpha=0.25, lw=0.6)
    panels[0].set_ylabel(f"{report.task.title}\n({judge})")
    return _saved(figure, panels, path)


def _profiles(report: Report, path: Path) -> Path:
    """Mean reward after each tenth of the continuations; of each method, its strongest β."""
    sets, styles = report.by_set(), _styles(report)
    figure, panels = _panels(len(sets))
    for panel, ((prompts, _), rows) in zip(panels, sets, strict=True):
        for name, points in _by_method([row for row in rows if len(row.profile)], anchored=False):
            row = points[-1]
            beta = row.row.settings["beta"]
            label = f"{name}, β = {beta:g}" if beta else name
            panel.plot([100 * f for f in FRACTIONS], row.profile, label=label, lw=1.2, ms=4, **styles[name])
        panel.set(title=prompts, xlabel="% of the continuation")
        panel.grid(alpha=0.25, lw=0.6)
    panels[0].set_ylabel(f"mean of {report.lens}\nover the text so far")
    return _saved(figure, panels, path)


def _by_method(rows: Sequence[RowFigures], anchored: bool) -> Iterator[tuple[str, list[RowFigures]]]:
    """The rows of each method by rising β; a steered one's start at top-k sampling, its β = 0."""
    start = [row for row in rows if row.row.settings["method"] == "top-k"]
    for name, group in groupby(rows, key=_curve):
        points = list(group)
        steered = points[0].row.settings["beta"]
        yield name, [*start, *points] if anchored and steered else points


def _curve(row: RowFigures) -> str:
    name, drafts = str(row.row.settings["method"]), row.row.settings.get("drafts")
    return name.replace(f"best of {drafts}", "best of n") if drafts else name


def _styles(report: Report) -> dict[str, dict[str, Any]]:
    names = [name for name in dict.fromkeys(map(_curve, report.rows)) if name not in PLAIN]
    drawn = {n: {"color": COLOURS[i % len(COLOURS)], "marker": MARKS[i % len(MARKS)]} for i, n in enumerate(names)}
    return PLAIN | drawn


def _panels(count: int) -> tuple[Any, list[Any]]:
    figure, panels = new_figure(count)
    panels = [panels] if count == 1 else list(panels)
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _label(row: RowFigures) -> str:
    """What tells the points of a curve apart: β, or n; and how many prompts an unfinished row has."""
    settings, done = row.row.settings, len(row.row.texts)
    number = f"{settings['beta']:g}" if settings["beta"] else str(settings.get("drafts") or "")
    return f"{number} ({done} prompts)" if done < settings["prompts_count"] else number


def _saved(figure: Any, panels: Sequence[Any], path: Path) -> Path:
    """One legend for all panels, and the file."""
    named = {
        label: handle for panel in panels for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        named.values(), named.keys(), loc="outside lower center", ncols=min(3 * len(panels), 5), frameon=False
    )
    figure.savefig(path, dpi=DPI)
    return path


def _bars(points: Sequence[tuple[float, float, float]]) -> list[list[float]]:
    return [[max(0.0, v - low) for v, low, _ in points], [max(0.0, high - v) for v, _, high in points]]


def _ticks(low: float, high: float) -> list[float]:
    marks = [m * 10.0**e for e in range(-1, 4) for m in (1, 1.5, 2, 3, 5, 7)]
    return [mark for mark in marks if low * 0.8 <= mark <= high * 1.25]
