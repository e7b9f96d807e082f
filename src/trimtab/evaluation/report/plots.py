"""The plots of a report: control against perplexity, control against time, reward along the text."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from trimtab.data.files import file_name
from trimtab.evaluation.report.captions import Picture, caption
from trimtab.evaluation.report.figure import add_legend, add_title, new_figure, save
from trimtab.evaluation.report.formats import DEFAULT_FORMATS
from trimtab.evaluation.report.labels import Label, place_labels
from trimtab.evaluation.report.palette import styles_of
from trimtab.evaluation.report.record import starts_at_top_k
from trimtab.evaluation.report.record_file import Record, by_set
from trimtab.evaluation.report.tables import human, task_of
from trimtab.training.measure import FRACTIONS

NAMES = {"unsteered": "unsteered (whole vocabulary)", "top-k": "top-k sampling (β = 0)"}
Bar = tuple[float, float, float]  # value, low, high
Across = Callable[[Record], Bar | None]


@final
class Plots:
    """Draws every plot that a report has figures for.

    Args:
        record: the figures.
        folder: the folder of the plots.
        formats: the formats of each plot; the report shows the first one.
        title: stands above every plot; default: what it shows.
    """

    def __init__(self, record: Record, folder: Path, formats: Sequence[str] = DEFAULT_FORMATS, title: str = ""):
        self.record, self.folder, self.formats, self.title = record, folder, formats, title
        self.styles = styles_of(map(curve_name, record["rows"]))

    def draw(self) -> list[Picture]:
        """Draw the plots; returns them with their captions."""
        rows, judges = self.record["rows"], self.record["judges"]
        made = [self._pareto(judge) for judge in judges]
        if any(row["time"] for row in rows) and judges:
            made.append(self._against_time(judges[0]))
        if any(row["profile"] for row in rows):
            made.append(self._profiles())
        return made

    def _pareto(self, judge: str) -> Picture:
        title = f"{_capital(task_of(self.record).title)} against perplexity, judged by {judge}"
        what = (
            f"{title}. Each curve is a method; the numbers are β, or n of best of n. Steered methods start at top-k "
            "sampling, their β = 0."
        )
        files = self._curves(
            f"pareto-{file_name(judge)}", title, judge, _perplexity, "perplexity under the unsteered model"
        )
        return Picture(files, title, caption(self.record, what, judge))

    def _against_time(self, judge: str) -> Picture:
        title = f"{_capital(task_of(self.record).title)} against time, judged by {judge}"
        what = f"{title}. Time per token over that of top-k sampling; the numbers are β, or n of best of n."
        files = self._curves("time", title, judge, _time, "time per token, over top-k sampling", anchored=False)
        return Picture(files, title, caption(self.record, what, judge, timed=True))

    def _curves(
        self, name: str, title: str, judge: str, across: Across, xlabel: str, anchored: bool = True
    ) -> tuple[Path, ...]:
        """A panel for each prompt set, a curve for each method; `anchored` curves start at β = 0."""
        sets = by_set(self.record)
        figure, panels = new_figure(len(sets))
        task, labels, lines = task_of(self.record), [], []
        for panel, ((prompts, direction), rows) in zip(panels, sets, strict=True):
            shown = [row for row in rows if across(row) and _bar(row["judges"][judge].get(task.figures[0]))]
            lower = task.lower_is_better or direction == "down"
            panel.set_title(f"{human(prompts)}: {'lower' if lower else 'higher'} is better", fontsize=11)
            panel.set_xlabel(xlabel)
            panel.set_xscale("log")
            of_panel = [
                Curve(method, points, across, judge, task.figures[0], self.styles[method])
                for method, points in _by_method(shown, anchored)
            ]
            for curve in of_panel:
                curve.draw(panel)
            _set_ticks(panel, sorted(across(row)[0] for row in shown))  # type: ignore[index]
            labels.append([label for curve in of_panel for label in curve.labels(anchored)])
            lines.append([line for curve in of_panel for line in curve.lines()])
        panels[0].set_ylabel(f"{task.title}\n(judge: {judge})")
        return self._finish(figure, panels, name, title, labels, lines)

    def _profiles(self) -> Picture:
        """Mean reward after each tenth of the continuations; of each method, its strongest β."""
        sets, profiled = by_set(self.record), self.record.get("profiled", "")
        figure, panels = new_figure(len(sets))
        for panel, ((prompts, direction), rows) in zip(panels, sets, strict=True):
            for name, points in _by_method([row for row in rows if row["profile"]], anchored=False):
                beta = points[-1].get("beta")
                label = f"{name}, β = {beta:g}" if beta else NAMES.get(name, name)
                shares = [100 * fraction for fraction in FRACTIONS[: len(points[-1]["profile"])]]
                panel.plot(shares, points[-1]["profile"], label=label, lw=1.3, **self.styles[name])
            panel.set_title(f"{human(prompts)}, steered {direction}", fontsize=11)
            panel.set_xlabel("share of the continuation (%)")
        panels[0].set_ylabel(f"mean reward{f' by {profiled}' if profiled else ''}")
        title = f"Mean reward along the text{f', by {profiled}' if profiled else ''}"
        what = f"{title}: after each tenth of the first continuation of each prompt. Of each method, the strongest β."
        files = self._finish(figure, panels, "profile", title, [], [])
        return Picture(files, title, caption(self.record, what))

    def _finish(
        self, figure: Any, panels: Sequence[Any], name: str, title: str, labels: Sequence[Any], lines: Sequence[Any]
    ) -> tuple[Path, ...]:
        """Add title, legend and labels, and write the files."""
        add_title(figure, self.title or title)
        add_legend(figure, panels)
        figure.draw_without_rendering()  # the layout is final, so labels can be placed
        figure.set_layout_engine("none")
        for panel, of_panel, lines_of_panel in zip(panels, labels, lines, strict=False):
            place_labels(panel, of_panel, lines_of_panel)
        return save(figure, self.folder / name, self.formats)


@final
class Curve:
    """The points of one method in one panel."""

    def __init__(
        self,
        name: str,
        rows: Sequence[Record],
        across: Across,
        judge: str,
        figure: str,
        style: Mapping[str, Any],
    ):
        self.name, self.rows, self.style = name, rows, style
        self.x = [across(row) or (0.0, 0.0, 0.0) for row in rows]
        self.y = [_bar(row["judges"][judge].get(figure)) or (0.0, 0.0, 0.0) for row in rows]

    def draw(self, panel: Any) -> None:
        """Draw the curve, with a bar for each interval."""
        label, style = NAMES.get(self.name, self.name), dict(self.style)
        colour, marker = style.pop("color"), style.pop("marker")
        x, y = [value for value, *_ in self.x], [value for value, *_ in self.y]
        bars = {"xerr": _ends(self.x), "yerr": _ends(self.y), "fmt": "none", "elinewidth": 0.7, "alpha": 0.45}
        panel.errorbar(x, y, ecolor=colour, **bars)
        panel.plot(x, y, color=colour, marker=marker, lw=1.3, label=label, **style)

    def labels(self, anchored: bool) -> list[Label]:
        """The label of each point that has one; the anchor of a steered curve belongs to top-k sampling."""
        shown = [(row, x[0], y[0]) for row, x, y in zip(self.rows, self.x, self.y, strict=True)]
        return [
            Label(text, x, y, str(self.style["color"]))
            for row, x, y in shown
            if (text := _label(row)) and not (anchored and row["method"] == "top-k" and self.name != "top-k")
        ]

    def lines(self) -> Iterator[list[tuple[float, float]]]:
        """The curve and its bars, as corners."""
        yield [(x[0], y[0]) for x, y in zip(self.x, self.y, strict=True)]
        for x, y in zip(self.x, self.y, strict=True):
            yield [(x[1], y[0]), (x[2], y[0])]
            yield [(x[0], y[1]), (x[0], y[2])]


def curve_name(row: Record) -> str:
    """The name of the curve to which a row belongs: its method; of best-of-n, the same for all n."""
    name, drafts = str(row["method"]), row.get("drafts")
    return name.replace(f"best of {drafts}", "best of n") if drafts else name


def _by_method(rows: Sequence[Record], anchored: bool) -> Iterator[tuple[str, list[Record]]]:
    """The rows of each method by rising β; steered methods start at top-k sampling, their β = 0."""
    start = [row for row in rows if row["method"] == "top-k"]
    curves: dict[str, list[Record]] = {}
    for row in rows:
        curves.setdefault(curve_name(row), []).append(row)
    for name, points in curves.items():
        yield name, [*start, *points] if anchored and starts_at_top_k(points[0]) else points


def _perplexity(row: Record) -> Bar | None:
    return _bar(row["figures"]["perplexity"])


def _time(row: Record) -> Bar | None:
    if not row["time"]:
        return None
    ratio = float(row["time"]["ratio"])
    return ratio, ratio, ratio


def _bar(entry: Mapping[str, Any] | None) -> Bar | None:
    """A figure with its interval; None where it has no value."""
    if entry is None or entry["value"] is None:
        return None
    value = float(entry["value"])
    low, high = (value if entry[end] is None else float(entry[end]) for end in ("low", "high"))
    return value, low, high


def _label(row: Record) -> str:
    """The label of a point: β or n, and for an unfinished row the number of its prompts."""
    number = f"{row['beta']:g}" if row.get("beta") else str(row.get("drafts") or "")
    done, count = row["prompts_done"], row["prompts_count"]
    return f"{number} ({done} prompts)".strip() if done < count else number


def _ends(points: Sequence[Bar]) -> list[list[float]]:
    """The lengths of the bars below and above each point."""
    return [[max(0.0, v - low) for v, low, _ in points], [max(0.0, high - v) for v, _, high in points]]


def _set_ticks(panel: Any, values: Sequence[float]) -> None:
    """Round ticks over the range of the values."""
    if values:
        panel.minorticks_off()
        ticks = _ticks(values[0], values[-1])
        panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])


def _ticks(low: float, high: float) -> list[float]:
    marks = [m * 10.0**e for e in range(-2, 6) for m in (1, 1.5, 2, 3, 5, 7)]
    return [mark for mark in marks if low * 0.8 <= mark <= high * 1.25]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
