"""The style of a method: the same in every figure."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from trimtab.evaluation.report.palette import COLOURS, MARKERS, PLAIN, style_of, styles_of
from trimtab.evaluation.report.plots import curve_name

RESULTS = Path(__file__).parents[3] / "results"
NAMES = [f"method-{number}" for number in range(60)]
LINEAR = {
    "full": np.eye(3),
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
}  # Machado et al. 2009, severity 1


def lab(colour, sight):
    """CIELAB of a colour as someone with that sight sees it."""
    value = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(LINEAR[sight]) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ seen
    x, y, z = np.cbrt(np.maximum(xyz / [0.9505, 1, 1.089], 0.008856))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", LINEAR)
def test_colours_can_be_told_apart(sight):
    for one, other in itertools.combinations(COLOURS, 2):
        assert np.linalg.norm(lab(one, sight) - lab(other, sight)) > 15, (one, other)


def test_the_colour_depends_on_the_name_alone():
    for start in range(0, 60, 7):
        styles = styles_of(NAMES[start:] + NAMES[:start])
        assert all(styles[name]["color"] == style_of(name)["color"] for name in NAMES)


def test_no_two_methods_of_a_figure_look_alike():
    count = len(COLOURS) * 3
    styles = styles_of([*PLAIN, *NAMES[:count]])
    looks = {(style["color"], style["marker"]) for style in styles.values()}
    assert len(looks) == count + len(PLAIN)
    assert all(style["marker"] in MARKERS for name, style in styles.items() if name not in PLAIN)


def test_methods_of_each_figure_in_results_have_different_colours():
    reports = [
        *RESULTS.glob("evaluation/*/report.json"),
        *RESULTS.glob("rewind/*/report.json"),
        *RESULTS.glob("ladder/*/report.json"),
    ]
    figures = [set(map(curve_name, json.loads(path.read_text(encoding="utf-8"))["rows"])) for path in reports]
    spectrum = json.loads((RESULTS / "spectrum.json").read_text(encoding="utf-8"))
    figures.append({re.sub(".*/", "", name) for name in spectrum["ranks"]})
    assert len(figures) > 3
    for names in figures:
        assert len({style["color"] for style in styles_of(names).values()}) == len(names)
