"""The labelled texts on which the bundled rewards are calibrated: one file for each source.

    python recipes/calibration_texts.py DATA texts/calibration

Each source has texts in the proportions in which it has them. None was trained on. Rotten Tomatoes is left out: SST-2's
training phrases are cut from it.
"""

import random
from pathlib import Path
from typing import Annotated, Any

import typer
from ladder_texts import rows, write

TEXTS = 400  # of each source

Row = dict[str, Any]


def labelled(found: list[Row], attribute: str) -> list[Row]:
    """Texts with a label of 0 or 1."""
    return [{"text": row["text"], attribute: row["label"]} for row in found]


def toxicity(data: Path) -> dict[str, list[Row]]:
    """Comments, tweets, both sides of ParaDetox, and sentences of the web with Perspective's verdict."""
    comments = rows(data / "jigsaw_dev.jsonl.gz")
    pairs = rows(data / "paradetox_dev.jsonl.gz")
    web = [row for name in ("rtp_nontoxic", "rtp_toxic") for row in rows(data / f"{name}.jsonl.gz")]
    return {
        "jigsaw": labelled([row for row in comments if row["source"] == "jigsaw"], "toxic"),
        "davidson": labelled([row for row in comments if row["source"] == "davidson"], "toxic"),
        "paradetox": [{"text": pair[side], "toxic": int(side == "rejected")} for pair in pairs for side in pair],
        "realtoxicityprompts": [
            {"text": row["continuation"].strip(), "toxic": int(row["continuation_toxicity"] >= 0.5)}
            for row in web
            if row["continuation_toxicity"] is not None
        ],
    }


def sentiment(data: Path) -> dict[str, list[Row]]:
    """Sentences of SST-2 and the openings of IMDB's reviews, as far as a reward reads them."""
    reviews = rows(data / "movie_reviews_dev.jsonl.gz")
    return {
        "sst2": labelled(rows(data / "sst2_dev.jsonl.gz"), "positive"),
        "imdb": labelled([row for row in reviews if row["source"] == "imdb"], "positive"),
    }


def main(
    data: Annotated[Path, typer.Argument(help="The folder of the labelled texts and prompts.")],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
) -> None:
    """Write a file for each source."""
    for source, found in {**toxicity(data), **sentiment(data)}.items():
        write(out / f"{source}.jsonl", random.Random(0).sample(found, TEXTS))


if __name__ == "__main__":
    typer.run(main)
