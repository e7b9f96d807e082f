"""Plot how far several rewards steer at the same perplexity, from files of bench/steering.py.

    python bench/frontier.py results/steering-*.json --out results/frontier

The perplexities are those that all rewards reach. The judge's verdict at each is interpolated linearly between the
measured β.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from trimtab.data.json_text import parse_json
from trimtab.evaluation.report.figure import add_legend, add_title, new_figure, save
from trimtab.evaluation.report.labels import Label, place_labels
from trimtab.evaluation.report.palette import styles_of

LEVELS = 5


def curve(report: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return perplexity, verdict and its interval [2, points], the weakest steering first."""
    rows = sorted(report["rows"], key=lambda row: abs(row["beta"]))
    return (
        np.array([row["perplexity"] for row in rows]),
        np.array([row["mean"] for row in rows]),
        np.array([row["interval"] for row in rows]).T,
    )


def draw(read: dict[str, dict[str, Any]], out: Path, title: str) -> None:
    """Draw a curve for each file, with the β beside each point."""
    figure, (panel,) = new_figure(1)
    styles, labels, lines = styles_of(read), [], []
    for name, report in read.items():
        perplexity, mean, interval = curve(report)
        colour = styles[name]["color"]
        panel.errorbar(perplexity, mean, np.abs(interval - mean), fmt="none", ecolor=colour, elinewidth=0.7, alpha=0.45)
        panel.plot(perplexity, mean, lw=1.3, label=name, **styles[name])
        betas = sorted(abs(row["beta"]) for row in report["rows"])
        labels += [Label(f"{beta:g}", x, y, colour) for beta, x, y in zip(betas, perplexity, mean, strict=True)]
        lines.append(list(zip(perplexity, mean, strict=True)))
        lines += [[(x, low), (x, high)] for x, low, high in zip(perplexity, *interval, strict=True)]
    panel.set(xlabel="perplexity under the unsteered model", xscale="log")
    ticks = [tick for tick in (8, 9, 10, 12, 15, 20, 30, 40, 60) if panel.get_xlim()[0] <= tick <= panel.get_xlim()[1]]
    panel.minorticks_off()
    panel.set_xticks(ticks, [str(tick) for tick in ticks])
    panel.set_ylabel(f"mean verdict (judge: {next(iter(read.values()))['judge']})")
    add_title(figure, title)
    add_legend(figure, [panel])
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    place_labels(panel, labels, lines)
    save(figure, out, ("png", "svg"))


def main(
    reports: Annotated[list[Path], typer.Argument(help="Files of bench/steering.py, with the same prompts and judge.")],
    out: Annotated[Path, typer.Option(help="The .md, .png and .svg file to write, without a suffix.")],
    title: Annotated[str, typer.Option(help="Title of the plot.")] = "Steering at the same perplexity, by objective",
) -> None:
    """Print and draw the frontier."""
    read = {path.stem.removeprefix("steering-"): parse_json(path.read_bytes()) for path in reports}
    curves = {name: curve(report) for name, report in read.items()}
    low = max(perplexity.min() for perplexity, _, _ in curves.values())
    high = min(perplexity.max() for perplexity, _, _ in curves.values())
    levels = np.linspace(low, high, LEVELS)
    table = Table("at perplexity", *(f"{level:.2f}" for level in levels))
    lines = ["| at perplexity | " + " | ".join(f"{level:.2f}" for level in levels) + " |", "|---" * (LEVELS + 1) + "|"]
    for name, (perplexity, mean, _) in curves.items():
        order = np.argsort(perplexity)
        cells = [f"{value:.3f}" for value in np.interp(levels, perplexity[order], mean[order])]
        table.add_row(name, *cells)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    draw(read, out, title)
    out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    Console(width=130).print(table)


if __name__ == "__main__":
    typer.run(main)
