"""Labels cover neither each other nor a point, where there is room."""

import numpy as np
import pytest

from label_boxes import label_boxes
from trimtab.evaluation.report.figure import new_figure
from trimtab.evaluation.report.labels import Label, place_labels


def placed(labels, lines=()):
    """The boxes of the labels that were placed, and the points, in pixels."""
    figure, (panel,) = new_figure(1)
    panel.plot([label.x for label in labels], [label.y for label in labels], "o")
    panel.set(xlim=(0, 1), ylim=(0, 1))
    figure.draw_without_rendering()
    place_labels(panel, labels, lines)
    boxes = dict(label_boxes(panel))
    return boxes, panel.transData.transform([(label.x, label.y) for label in labels]), panel


@pytest.mark.parametrize("seed", range(5))
def test_labels_of_crowded_points_do_not_overlap(seed):
    places = 0.5 + 0.04 * np.random.default_rng(seed).standard_normal((8, 2))
    labels = [Label(f"{number}0", x, y, "#000000") for number, (x, y) in enumerate(places)]
    boxes, points, panel = placed(labels)
    found = list(boxes.values())
    assert len(found) == len(labels)
    for place, box in enumerate(found):
        assert not any(box.overlaps(other) for other in found[:place])
        assert not any(box.contains(*point) for point in points)
        assert panel.get_window_extent().containsx(box.x0)


def test_a_label_stands_beside_its_point_and_off_its_line():
    boxes, ((x, y),), panel = placed([Label("40", 0.5, 0.5, "#000000")], [[(0.5, 0.5), (0.9, 0.9)]])
    box = boxes["40"]
    assert np.hypot(box.x0 - x, box.y0 - y) < 60
    corners = panel.transData.transform([(place, place) for place in np.linspace(0.5, 0.9, 200)])
    assert not any(box.contains(*corner) for corner in corners)


def test_a_label_at_the_edge_stays_inside():
    boxes, _, panel = placed([Label("120 prompts", 0.99, 0.99, "#000000")])
    frame = panel.get_window_extent()
    assert boxes["120 prompts"].x1 <= frame.x1
    assert boxes["120 prompts"].y1 <= frame.y1


def test_a_plot_without_labels_stays_as_it_is():
    figure, (panel,) = new_figure(1)
    figure.draw_without_rendering()
    place_labels(panel, [], [])
    assert not panel.texts
