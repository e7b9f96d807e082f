"""One table of the figures that `trimtab evaluate preference --out` wrote into a folder.

python recipes/preference_table.py results/rewardbench results/rewardbench/table.md
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

ORDER = ("accuracy", "ties")  # first, then the subsets


def cell(figure: dict[str, float]) -> str:
    """A figure with its 95 % interval, in percent; sections of RewardBench have none."""
    value, low, high = (100 * figure[name] for name in ("value", "low", "high"))
    return f"{value:.0f}" if low == high == value else f"{value:.0f} ({low:.0f}–{high:.0f})"


def table(records: list[dict[str, Any]]) -> str:
    """The table of some records: a row for each figure of each set, a column for each reward and judge."""
    columns = [spec for record in records for spec in record["made_by"]["scorers"]]
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for record in records:
        for data, of_data in record["figures"].items():
            for spec, figures in of_data.items():
                for name in sorted(figures, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER)):
                    rows.setdefault((data, name), {})[spec] = cell(figures[name])
    counts = {data: about["comparisons"] for record in records for data, about in record["made_by"]["data"].items()}
    lines = [
        "| set | comparisons | figure | " + " | ".join(f"`{spec}`" for spec in columns) + " |",
        "|---|---|---|" + "---|" * len(columns),
    ]
    for (data, name), cells in rows.items():
        row = [data, str(counts[data]), name, *(cells.get(spec, "") for spec in columns)]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def main(
    folder: Annotated[Path, typer.Argument(help="The folder of the records.")],
    out: Annotated[Path, typer.Argument(help="The file to write.")],
) -> None:
    """Write the table, in percent with 95 % intervals."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    out.write_text(table(records), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
