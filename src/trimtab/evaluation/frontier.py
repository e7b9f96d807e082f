"""Methods at equal fluency: what control each has where it costs as much perplexity as the others."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from trimtab.evaluation.metrics import Ratio, draw_prompts, interval_of

LEVELS = (1.1, 1.25, 1.5, 2.0)  # perplexity over that of top-k sampling
Point = tuple[Ratio, Ratio]  # perplexity, control
Level = tuple[float, float, float] | None  # value, low, high; None where the curve does not reach


def at_equal_perplexity(start: Point, curves: Mapping[str, Sequence[Point]]) -> dict[str, list[Level]]:
    """Interpolate each curve at multiples of the perplexity from which all start.

    A curve is a polygon from `start` through its points by rising perplexity; it is drawn anew for every bootstrap draw
    of prompts, the same draws for all, and a level that less than all draws reach has no figure.

    Args:
        start: top-k sampling, β = 0 of every curve.
        curves: the points of each method.
    """
    prompts = len(start[0].over)
    draws = np.concatenate([np.arange(prompts)[None], draw_prompts(prompts)])
    levels = start[0].of(draws)[:, None] * np.array(LEVELS)
    return {name: _levels(_interpolated([start, *points], draws, levels)) for name, points in curves.items()}


def _interpolated(
    points: Sequence[Point], draws: np.ndarray, levels: Float[np.ndarray, "draws levels"]
) -> Float[np.ndarray, "draws levels"]:
    x = np.stack([perplexity.of(draws) for perplexity, _ in points], axis=1)
    y = np.stack([control.of(draws) for _, control in points], axis=1)
    order = x.argsort(axis=1)
    x, y = np.take_along_axis(x, order, 1), np.take_along_axis(y, order, 1)
    return np.stack([np.interp(*row, right=np.nan) for row in zip(levels, x, y, strict=True)])


def _levels(found: Float[np.ndarray, "draws levels"]) -> list[Level]:
    """The first draw is the data themselves."""
    return [None if np.isnan(column).any() else (float(column[0]), *interval_of(column[1:])) for column in found.T]
