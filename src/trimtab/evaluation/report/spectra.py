"""Plots of reward spectra. No plot needs a screen; matplotlib is in the `plots` extra."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trimtab.errors import InvalidSetting
from trimtab.rewards.spectrum import Spectrum


def new_figure(panels: int) -> tuple[Any, Any]:
    """A figure with a number of panels side by side.

    Raises:
        InvalidSetting: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InvalidSetting("a plot needs matplotlib: pip install 'trimtab[plots]'") from error
    figure = Figure(figsize=(6 * panels, 4.5), layout="constrained")
    return figure, figure.subplots(1, panels)


def plot_spectra(spectra: Mapping[str, Sequence[Spectrum]], path: Path) -> None:
    """Plot the singular values of the largest matrix, and both ranks against the number of prefixes.

    Args:
        spectra: for each reward, its spectra by rising number of prefixes.
        path: the picture; its suffix selects the format.
    """
    figure, (values, ranks) = new_figure(2)
    for number, (name, of_reward) in enumerate(spectra.items()):
        colour = f"C{number}"
        last = of_reward[-1]
        values.semilogy(range(1, len(last.values) + 1), last.values / last.values[0], colour, label=name)
        counts = [spectrum.prefixes for spectrum in of_reward]
        ranks.plot(counts, [s.numerical_rank for s in of_reward], colour + "o-", label=f"{name}, numerical")
        ranks.plot(counts, [s.effective_rank for s in of_reward], colour + "s:", label=f"{name}, effective")
    values.axhline(last.threshold / last.values[0], color="grey", lw=0.8, label="rounding")
    values.set(xlabel="singular value", ylabel="relative to the largest", ylim=(1e-9, 2))
    ranks.set(xlabel="prefixes N", ylabel="rank", xscale="log", yscale="log")
    for panel in (values, ranks):
        panel.legend(fontsize="small")
        panel.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
