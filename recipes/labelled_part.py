"""The texts of one label, for a datastore of them.

python recipes/labelled_part.py sst2_train.jsonl.gz 1 texts/positive.jsonl --limit 2000
"""

import random
from pathlib import Path
from typing import Annotated

import typer
from ladder_texts import rows, write


def main(
    source: Annotated[Path, typer.Argument(help="JSON lines with text and label.")],
    label: Annotated[float, typer.Argument(help="The label of the texts that are kept.")],
    out: Annotated[Path, typer.Argument(help="The file to write.")],
    limit: Annotated[int, typer.Option(help="Texts, drawn at random.")] = 10_000,
) -> None:
    """Write the texts."""
    kept = [{"text": row["text"]} for row in rows(source) if row["label"] == label]
    random.Random(0).shuffle(kept)
    write(out, kept[:limit])


if __name__ == "__main__":
    typer.run(main)
