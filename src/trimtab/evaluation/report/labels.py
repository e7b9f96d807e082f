"""Labels beside the points of a plot, placed so that they cover neither each other nor a point."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

SIZE = 7  # points
DISTANCES = (5.0, 9.0, 14.0, 20.0, 27.0)  # points from the point to the label's nearest corner or side
DIRECTIONS = 16
MARKER = 4.0  # points: half of the side of a marker's box
NEAR = 9.0  # points: from here on, a line leads from the label to its point
COVERS_LABEL, COVERS_POINT, COVERS_LINE, OUTSIDE = 1000.0, 300.0, 8.0, 1000.0


class Label(NamedTuple):
    """A label, and the point that it belongs to, in data coordinates."""

    text: str
    x: float
    y: float
    colour: str


Box = tuple[float, float, float, float]  # left, bottom, right, top, in pixels


def place_labels(panel: Any, labels: Sequence[Label], lines: Sequence[Sequence[tuple[float, float]]]) -> None:
    """Write labels into a panel whose layout is final.

    Args:
        panel: matplotlib's axes, after their figure was drawn once.
        labels: the labels; those in crowded places are placed first.
        lines: curves and error bars that labels should leave free, as corners in data coordinates.
    """
    scale = panel.figure.dpi / 72
    points = np.array([panel.transData.transform((label.x, label.y)) for label in labels]).reshape(-1, 2)
    dots = np.concatenate([_dots(panel, line) for line in lines] or [np.empty((0, 2))])
    frame = panel.get_window_extent()
    taken: list[Box] = []
    for number in _crowded_first(points):
        width, height = _size(panel, labels[number].text)
        boxes = [_box(points[number], step, angle, width, height, scale) for step in DISTANCES for angle in _angles()]
        costs = [
            _cost(box, taken, points, dots, frame, MARKER * scale) + place / DIRECTIONS
            for place, box in enumerate(boxes)
        ]
        best = int(np.argmin(costs))
        taken.append(boxes[best])
        _write(panel, labels[number], points[number], boxes[best], scale)


def _angles() -> list[float]:
    """Directions around a point, from the upper right on."""
    return [math.pi / 4 + 2 * math.pi * turn / DIRECTIONS for turn in range(DIRECTIONS)]


def _box(point: np.ndarray, step: float, angle: float, width: float, height: float, scale: float) -> Box:
    """The box of a label at a distance and in a direction of its point."""
    x = point[0] + math.cos(angle) * (step * scale + width / 2)
    y = point[1] + math.sin(angle) * (step * scale + height / 2)
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _cost(box: Box, taken: Sequence[Box], points: np.ndarray, dots: np.ndarray, frame: Any, marker: float) -> float:
    left, bottom, right, top = box
    over_labels = sum(left < x1 and x0 < right and bottom < y1 and y0 < top for x0, y0, x1, y1 in taken)
    outside = left < frame.x0 or right > frame.x1 or bottom < frame.y0 or top > frame.y1
    over_points = _within(points, (left - marker, bottom - marker, right + marker, top + marker))
    return float(
        COVERS_LABEL * over_labels + OUTSIDE * outside + COVERS_POINT * over_points + COVERS_LINE * _within(dots, box)
    )


def _within(points: np.ndarray, box: Box) -> int:
    left, bottom, right, top = box
    x, y = points[:, 0], points[:, 1]
    return int(((left < x) & (x < right) & (bottom < y) & (y < top)).sum())


def _dots(panel: Any, line: Sequence[tuple[float, float]]) -> np.ndarray:
    """A line as pixels, about three apart."""
    corners = panel.transData.transform(np.array(line, dtype=float))
    parts = []
    for start, end in pairwise(corners):
        count = max(2, int(np.hypot(*(end - start)) / 3))
        parts.append(start + np.linspace(0, 1, count)[:, None] * (end - start))
    return np.concatenate(parts) if parts else corners


def _crowded_first(points: np.ndarray) -> list[int]:
    """The points with the nearest neighbours first."""
    if len(points) < 2:
        return list(range(len(points)))
    apart = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    return [int(place) for place in np.sort(apart, axis=1)[:, : min(4, len(points))].sum(1).argsort(kind="stable")]


def _size(panel: Any, text: str) -> tuple[float, float]:
    """The width and height of a label in pixels."""
    shown = panel.text(0, 0, text, fontsize=SIZE)
    extent = shown.get_window_extent()
    shown.remove()
    return extent.width + 1, extent.height + 1


def _write(panel: Any, label: Label, point: np.ndarray, box: Box, scale: float) -> None:
    centre = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    offset = ((centre[0] - point[0]) / scale, (centre[1] - point[1]) / scale)
    gap = max(abs(offset[0]) - (box[2] - box[0]) / 2 / scale, abs(offset[1]) - (box[3] - box[1]) / 2 / scale)
    line = {"arrowstyle": "-", "color": label.colour, "lw": 0.5, "shrinkA": 0, "shrinkB": 2, "alpha": 0.7}
    panel.annotate(
        label.text,
        (label.x, label.y),
        offset,
        textcoords="offset points",
        fontsize=SIZE,
        color=label.colour,
        ha="center",
        va="center",
        arrowprops=line if gap > NEAR else None,
        zorder=10,
    )
