"""Plot how far several rewards steer at the same perplexity, from files of bench/steering.py.

    python bench/frontier.py results/steering-*.json --out results/frontier

The perplexities are those that all rewards reach. The judge's verdict at each is interpolated linearly between the
measured β.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from trimtab.evaluation.report.spectra import new_figure

LEVELS = 5


def curve(report: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return perplexity, verdict and its interval [2, points], the weakest steering first."""
    rows = sorted(report["rows"], key=lambda row: abs(row["beta"]))
    return (
        np.array([row["perplexity"] for row in rows]),
        np.array([row["mean"] for row in rows]),
        np.array([row["interval"] for row in rows]).T,
    )


def main(
    reports: Annotated[list[Path], typer.Argument(help="Files of bench/steering.py, with the same prompts and judge.")],
    out: Annotated[Path, typer.Option(help="The .md and the .png file to write, without a suffix.")],
) -> None:
    """Print and draw the frontier."""
    read = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in reports}
    curves = {name: curve(report) for name, report in read.items()}
    low = max(perplexity.min() for perplexity, _, _ in curves.values())
    high = min(perplexity.max() for perplexity, _, _ in curves.values())
    levels = np.linspace(low, high, LEVELS)
    table = Table("at perplexity", *(f"{level:.2f}" for level in levels))
    lines = ["| at perplexity | " + " | ".join(f"{level:.2f}" for level in levels) + " |", "|---" * (LEVELS + 1) + "|"]
    figure, panel = new_figure(1)
    for name, (perplexity, mean, interval) in curves.items():
        order = np.argsort(perplexity)
        cells = [f"{value:.3f}" for value in np.interp(levels, perplexity[order], mean[order])]
        table.add_row(name, *cells)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
        panel.errorbar(perplexity, mean, np.abs(interval - mean), marker="o", capsize=2, lw=1, label=name)
    first = next(iter(read.values()))
    panel.set(xlabel="perplexity under the base", ylabel=f"mean verdict of {first['judge']}")
    panel.grid(alpha=0.3)
    panel.legend(fontsize="small")
    figure.savefig(out.with_suffix(".png"), dpi=120)
    out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    Console(width=130).print(table)


if __name__ == "__main__":
    typer.run(main)
