"""The plot of reward spectra, from the record that `trimtab spectrum` writes as spectrum.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trimtab.data.files import read_record
from trimtab.errors import InvalidData
from trimtab.evaluation.report.captions import Picture
from trimtab.evaluation.report.figure import add_legend, add_title, new_figure, save
from trimtab.evaluation.report.formats import DEFAULT_FORMATS
from trimtab.evaluation.report.palette import styles_of

SPECTRUM_FILE = "spectrum.json"
KINDS = {"numerical": "-", "effective": ":"}  # the ranks and their lines
TITLE = "Singular values and ranks of reward matrices"


def plot_spectra(
    record: Mapping[str, Any], folder: Path, formats: Sequence[str] = DEFAULT_FORMATS, title: str = ""
) -> Picture:
    """Plot the singular values of the largest matrix, and both ranks against the number of prefixes.

    Args:
        record: `ranks`, `singular_values`, `tokens` and `data`, as `spectrum_record` returns them.
        folder: the folder of spectrum.png and the other formats.
        formats: the formats.
        title: stands above the plot; default: what it shows.

    Returns:
        The plot and its caption.
    """
    figure, (values, ranks) = new_figure(2)
    styles = styles_of(Path(name).name for name in record["ranks"])
    for name, of_reward in record["ranks"].items():
        colour, marker = styles[Path(name).name]["color"], styles[Path(name).name]["marker"]
        singular = np.array(record["singular_values"][name])
        shares = singular / singular[0] if singular[0] else singular
        values.semilogy(range(1, len(shares) + 1), shares, color=colour, lw=1.3, label=Path(name).name)
        counts = [rank["prefixes"] for rank in of_reward]
        for kind, line in KINDS.items():
            style = {"color": colour, "linestyle": line, "marker": marker, "ms": 5.5, "lw": 1.3}
            ranks.plot(counts, [rank[kind] for rank in of_reward], **style)
    values.axhline(_rounding(record), color="grey", lw=0.8, ls="--", label="rounding error of float32")
    values.set(xlabel="number of the singular value", ylabel="singular value, relative to the largest", ylim=(1e-9, 2))
    values.set_title("Singular values", fontsize=11)
    for kind, line in KINDS.items():
        ranks.plot([], [], color="#555555", linestyle=line, label=f"{kind} rank (right)")
    ranks.set(xlabel="prefixes N", ylabel="rank", xscale="log", yscale="log")
    ranks.set_title("Ranks", fontsize=11)
    _set_ticks(ranks, counts)
    add_title(figure, title or TITLE)
    add_legend(figure, [values, ranks])
    return Picture(save(figure, folder / "spectrum", formats), title or TITLE, _caption(record))


def read_spectrum(folder: Path) -> dict[str, Any]:
    """Read the record of spectra that was written before; an empty one if there is none.

    Raises:
        InvalidData: the file is damaged, or is not such a record.
    """
    record = read_record(folder / SPECTRUM_FILE, nan_is_null=True)
    ranks, values = record.get("ranks"), record.get("singular_values")
    known = isinstance(ranks, dict) and isinstance(values, dict) and ranks.keys() == values.keys()
    if record and not known:
        raise InvalidData(f"{str(folder / SPECTRUM_FILE)!r} is not a record of spectra; move it elsewhere")
    return record


def _caption(record: Mapping[str, Any]) -> str:
    prefixes = max(rank["prefixes"] for of_reward in record["ranks"].values() for rank in of_reward)
    return (
        f"{TITLE}: {prefixes} prefixes × {record['tokens']} tokens, prefixes of {record['data']}, "
        f"seed {record.get('seed', 0)}. Left: the singular values of the largest matrix. Right: the numerical rank "
        "(singular values above the rounding error) and the effective rank (exp of their entropy), of the first N "
        "prefixes."
    )


def _rounding(record: Mapping[str, Any]) -> float:
    """The rounding error of the largest matrix, relative to its largest singular value."""
    prefixes = max(rank["prefixes"] for of_reward in record["ranks"].values() for rank in of_reward)
    return max(prefixes, int(record["tokens"])) * float(np.finfo(np.float32).eps)


def _set_ticks(panel: Any, counts: Sequence[int]) -> None:
    panel.minorticks_off()
    panel.set_xticks(counts, [str(count) for count in counts])
    low, high = panel.get_ylim()
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000) if low <= tick <= high]
    panel.set_yticks(ticks, [str(tick) for tick in ticks])
