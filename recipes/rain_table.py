r"""What each part of a search adds: a table of the same search with one part off, from the reports of recipes/rain.sh.

    python recipes/rain_table.py runs/rain/full runs/rain/no-similarity … --out results/rain/ablation.json

Each figure is the mean score of the texts by one judge. `less the first` is the paired difference from the first
folder, over the same prompts.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from figure_table import figure_table

from trimtab.data.json_text import dump_json, parse_json
from trimtab.data.outputs import write_whole
from trimtab.evaluation.report.record import figure_entry
from trimtab.evaluation.score.metrics import Ratio


def searched(folder: Path) -> dict[str, Any]:
    """The row of a report that was searched."""
    report = parse_json((folder / "report.json").read_bytes())
    (row,) = [row for row in report["rows"] if row.get("search")]
    return dict(row)


def scores(folder: Path) -> dict[str, np.ndarray]:
    """The mean score of each prompt's texts that were searched, by judge."""
    found = {}
    for path in sorted((folder / "readings").glob("*--rewound-by-*.json")):
        judge = path.stem.rpartition("--")[2]
        found[judge] = np.array(parse_json(path.read_bytes())["values"], dtype=float).mean(1)
    return found


def written(folder: Path) -> list[str]:
    """The fingerprints of the texts that were searched."""
    path = next((folder / "readings").glob("*--rewound-by-*.json"))
    return [str(text) for text in parse_json(path.read_bytes())["texts"]]


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders of reports; the first has the whole search.")],
    out: Annotated[Path, typer.Option(help="The file of the figures; a table is written beside it.")],
) -> None:
    """Print the table."""
    first, found = scores(folders[0]), {}
    for folder in folders:
        figures: dict[str, Any] = {}
        for judge, of_prompts in scores(folder).items():
            one = np.ones(len(of_prompts))
            figures[judge] = figure_entry(Ratio(of_prompts, one))
            figures[f"{judge}, less the first"] = figure_entry(Ratio(of_prompts - first[judge], one))
        row = searched(folder)
        differ = np.array([a != b for a, b in zip(written(folder), written(folders[0]), strict=True)], dtype=float)
        figures["share of texts that differ"] = figure_entry(Ratio(differ, np.ones(len(differ))))
        found[folder.name] = {**figures, "tokens encoded per token": row["figures"]["encoded"]}
    settings = searched(folders[0])["search"]
    write_whole(out, dump_json({"search": settings, "prompts": len(one), "figures": found}, indent=1) + "\n")
    printed = figure_table(found, "search")
    write_whole(out.with_suffix(".md"), printed)
    print(printed)


if __name__ == "__main__":
    typer.run(main)
