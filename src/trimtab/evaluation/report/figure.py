"""Figures without a screen: a number of panels, and files in several formats. matplotlib is in the `plots` extra."""

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trimtab.errors import InvalidSetting
from trimtab.evaluation.checks import write_in

WIDTH, HEIGHT = 5.2, 4.6  # inches of a panel
MOST_COLUMNS = 6  # of a legend
DPI = 160
TITLE_SIZE, CHARACTERS_PER_INCH = 12, 9  # points; of a title
UNDATED: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}


def check_matplotlib() -> None:
    """Check that plots can be drawn.

    Raises:
        InvalidSetting: matplotlib is not installed.
    """
    import importlib.util

    if importlib.util.find_spec("matplotlib") is None:
        raise InvalidSetting("a plot needs matplotlib: pip install 'trimtab[plots]'")


def new_figure(panels: int) -> tuple[Any, list[Any]]:
    """A figure with a number of panels side by side.

    Raises:
        InvalidSetting: matplotlib is not installed.
    """
    check_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH * panels, HEIGHT), layout="constrained", dpi=DPI)
    FigureCanvasAgg(figure)
    drawn = list(figure.subplots(1, panels, squeeze=False)[0])
    for panel in drawn:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.25, lw=0.6)
    return figure, drawn


def add_title(figure: Any, title: str) -> None:
    """Write the title above all panels, in lines that fit."""
    width = int(figure.get_figwidth() * CHARACTERS_PER_INCH)
    figure.suptitle(textwrap.fill(title, max(width, 20)), fontsize=TITLE_SIZE)


def add_legend(figure: Any, panels: Sequence[Any]) -> None:
    """Add one legend for all panels, below them, in rows from left to right, in as many columns as fit."""
    named = {
        label: handle for panel in panels for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    for columns in range(min(len(named), MOST_COLUMNS), 0, -1):
        order = [place for column in range(columns) for place in range(column, len(named), columns)]
        legend = figure.legend(
            [list(named.values())[place] for place in order],
            [list(named)[place] for place in order],
            loc="outside lower center",
            ncols=columns,
            frameon=False,
            fontsize=9,
        )
        if columns == 1 or legend.get_window_extent(figure.canvas.get_renderer()).width < figure.bbox.width:
            return
        legend.remove()


def save(figure: Any, path: Path, formats: Sequence[str]) -> tuple[Path, ...]:
    """Write a figure beside `path` in each format; the same figure gives the same bytes. Returns the files."""
    import matplotlib

    files = []
    for kind in dict.fromkeys(formats):
        content = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": "trimtab", "svg.fonttype": "none", "pdf.fonttype": 42}):
            figure.savefig(content, format=kind, dpi=DPI, metadata=UNDATED[kind])
        files.append(write_in(path.parent, f"{path.name}.{kind}", content.getvalue()))
    return tuple(files)
