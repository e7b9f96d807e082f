"""The plots of a report: control against perplexity, control against time, reward along the text."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from trimtab.data.files import file_name
from trimtab.evaluation.report.collect import Report, RowFigures
from trimtab.evaluation.report.spectra import new_figure
from trimtab.training.measure import FRACTIONS

PLAIN: dict[str, dict[str, Any]] = {
    "unsteered": {"color": "#999999", "marker": "*"},
    "top-k": {"color": "#000000", "marker": "X", "zorder": 9},
    "greedy": {"color": "#555555", "marker": "p"},
}
# Okabe and Ito's colours without yellow, then Tol's: colour-blind readers can tell them apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#117733", "#332288", "#999933")
MARKS = "osD^vPd<h>"
DPI = 160
Bar = tuple[float, float, float]  # value, low, high
Across = Callable[[RowFigures], Bar]


def draw(report: Report, folder: Path) -> list[Path]:
    """Draw every plot that the report has figures for; returns the files in the folder."""
    made = [_pareto(report, folder / f"pareto-{file_name(judge)}.png", judge) for judge in report.judges]
    if any(row.time for row in report.rows) and report.judges:
        made.append(_against_time(report, folder / "time.png", report.judges[0]))
    if any(len(row.profile) for row in report.rows):
        made.append(_profiles(report, folder / "profile.png"))
    return made


def _pareto(report: Report, path: Path, judge: str) -> Path:
    def perplexity(row: RowFigures) -> Bar:
        ratio = row.figures["perplexity"]
        return (ratio.value, *ratio.interval())

    return _curves(report, path, judge, perplexity, "perplexity of the continuation (unsteered model)")


def _against_time(report: Report, path: Path, judge: str) -> Path:
    def ratio(row: RowFigures) -> Bar:
        value = float(row.time["ratio"])
        return value, value, value

    timed = [row for row in report.rows if row.time]
    return _curves(report, path, judge, ratio, "time per token, over top-k sampling", timed, anchored=False)


def _curves(
    report: Report,
    path: Path,
    judge: str,
    across: Across,
    label: str,
    only: Sequence[RowFigures] | None = None,
    anchored: bool = True,
) -> Path:
    """A panel for each prompt set, a curve for each method; `anchored` curves start at β = 0."""
    sets, styles = report.by_set(), _styles(report)
    figure, panels = _panels(len(sets))
    for panel, ((prompts, direction), rows) in zip(panels, sets, strict=True):
        rows = [row for row in rows if only is None or any(row is each for each in only)]
        for name, points in _by_method(rows, anchored):
            ratios = [row.control[judge][report.task.figures[0]] for row in points]
            bars = [(ratio.value, *ratio.interval()) for ratio in ratios]
            _draw_curve(panel, points, [across(row) for row in points], bars, {"label": name, **styles[name]})
        better = "↓" if report.task.lower_is_better or direction == "down" else "↑"
        panel.set(title=f"{prompts} {better}", xlabel=label, xscale="log")
        _set_ticks(panel, sorted(across(row)[0] for row in rows))
    panels[0].set_ylabel(f"{report.task.title}\n({judge})")
    return _saved(figure, panels, path)


def _draw_curve(
    panel: Any, points: Sequence[RowFigures], x: Sequence[Bar], y: Sequence[Bar], style: Mapping[str, Any]
) -> None:
    """A curve with a bar for each interval and a label beside each point."""
    across, up = ([value for value, *_ in bars] for bars in (x, y))
    panel.errorbar(across, up, xerr=_bars(x), yerr=_bars(y), capsize=2, lw=1.2, elinewidth=0.8, ms=5, **style)
    for row, *place in zip(points, across, up, strict=True):
        if label := _label(row):
            panel.annotate(label, place, (4, 4), textcoords="offset points", fontsize=7, color="#555555")


def _set_ticks(panel: Any, values: Sequence[float]) -> None:
    """Round ticks over the range of the values, and a grid."""
    panel.minorticks_off()
    ticks = _ticks(values[0], values[-1])
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.grid(alpha=0.25, lw=0.6)


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
    panels[0].set_ylabel(f"mean of {report.profiled}\nover the text so far")
    return _saved(figure, panels, path)


def _by_method(rows: Sequence[RowFigures], anchored: bool) -> Iterator[tuple[str, list[RowFigures]]]:
    """The rows of each method by rising β; steered methods start at top-k sampling, their β = 0."""
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
    """The label of a point: β or n, and for an unfinished row the number of its prompts."""
    settings, done = row.row.settings, len(row.row.texts)
    number = f"{settings['beta']:g}" if settings["beta"] else str(settings.get("drafts") or "")
    return f"{number} ({done} prompts)" if done < settings["prompts_count"] else number


def _saved(figure: Any, panels: Sequence[Any], path: Path) -> Path:
    """Save the figure with one legend for all panels; returns the file."""
    named = {
        label: handle for panel in panels for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        named.values(), named.keys(), loc="outside lower center", ncols=min(3 * len(panels), 5), frameon=False
    )
    figure.savefig(path, dpi=DPI)
    return path


def _bars(points: Sequence[Bar]) -> list[list[float]]:
    """The lengths of the bars below and above each point."""
    return [[max(0.0, v - low) for v, low, _ in points], [max(0.0, high - v) for v, _, high in points]]


def _ticks(low: float, high: float) -> list[float]:
    marks = [m * 10.0**e for e in range(-1, 4) for m in (1, 1.5, 2, 3, 5, 7)]
    return [mark for mark in marks if low * 0.8 <= mark <= high * 1.25]
