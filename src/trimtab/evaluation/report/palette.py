"""The colour, marker and dash of a method: from its name alone, so that it is the same in every figure."""

import hashlib
from collections.abc import Iterable
from typing import Any

# Okabe and Ito's colours without yellow and black, and three of Tol's. Of any two, CIE76 ΔE is at least 17 in full
# colour vision, protanopia and deuteranopia.
COLOURS = ("#D55E00", "#0072B2", "#E69F00", "#CC79A7", "#56B4E9", "#009E73", "#882255", "#117733", "#332288")
MARKERS = "osD^vPd<h>"
SIZE = 5.5  # points: of a marker
DASHES: tuple[Any, ...] = ("-", (0, (6, 1.5)), (0, (3, 1.5)), (0, (6, 1.5, 1.5, 1.5)))
SALT = 152229  # the first number with which the methods of each figure in results/ have different colours
PLAIN: dict[str, dict[str, Any]] = {
    "unsteered": {"color": "#999999", "marker": "*", "ms": 10},
    "top-k": {"color": "#000000", "marker": "X", "ms": 7, "zorder": 9},
    "greedy": {"color": "#555555", "marker": "p", "ms": 7},
}


def style_of(name: str) -> dict[str, Any]:
    """Return matplotlib's `color`, `marker`, `ms` and `linestyle` for a method."""
    if name in PLAIN:
        return PLAIN[name]
    first, second = hashlib.blake2b(f"{SALT}{name}".encode(), digest_size=2).digest()
    return {
        "color": COLOURS[first % len(COLOURS)],
        "marker": MARKERS[second % len(MARKERS)],
        "ms": SIZE,
        "linestyle": DASHES[second // len(MARKERS) % len(DASHES)],
    }


def styles_of(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the style of each method of a figure.

    The colour is always that of the name. Of two methods with one colour and one marker, the later takes the next free
    marker.
    """
    styles: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(names):
        style = style_of(name)
        taken = {other["marker"] for other in styles.values() if other["color"] == style["color"]}
        place = MARKERS.find(style["marker"])
        free = [marker for marker in MARKERS[place:] + MARKERS[:place] if marker not in taken]
        keep = style["marker"] not in taken or not free or name in PLAIN
        styles[name] = style if keep else {**style, "marker": free[0]}
    return styles
