"""The prompts that SmolLM2 continues, and answers, for the training of its draft head; and texts of people.

    python recipes/draft_prompts.py DATA prompts/draft.jsonl

Half of the prompts are openings of web texts and reviews, half are requests to an assistant. The texts are reviews,
comments, and sums with their solutions. The first rows of every file of prompts are left out, because
`trimtab evaluate` and `bench/speculation.py` use those.
"""

import random
import re
from pathlib import Path
from typing import Annotated, Any

import typer
from ladder_texts import opening, rows, write

WEB = {"owt_neutral": 250, "owt_positive": 100, "owt_negative": 100, "rtp_nontoxic": 100, "rtp_toxic": 50}
FIRST_WEB_ROW, FIRST_REQUEST = 1000, 200
REVIEWS, REVIEW_WORDS = 100, 8
HELPFUL, SUMS = 200, 100
TEXTS = {"reviews": 1300, "comments": 900, "solutions": 600}
TEXT_WORDS = 120
WORKING = re.compile("<<.*?>>")  # of a calculator, in the solutions


def first_turn(conversation: str) -> str:
    """What the person says first."""
    return conversation.split("\n\nHuman: ")[1].split("\n\nAssistant: ")[0].strip()


def openings(data: Path, draw: random.Random) -> list[str]:
    """Beginnings of sentences on the web, and of reviews."""
    web = [
        row["prompt"]
        for name, count in WEB.items()
        for row in draw.sample(rows(data / f"{name}.jsonl.gz")[FIRST_WEB_ROW:], count)
    ]
    reviews = draw.sample(rows(data / "movie_reviews_train.jsonl.gz"), REVIEWS)
    return [*web, *(opening(row["text"], REVIEW_WORDS) for row in reviews)]


def requests(data: Path, draw: random.Random) -> list[str]:
    """What people ask an assistant, and sums to solve."""
    helpful = draw.sample(rows(data / "hh_harmless.jsonl.gz")[FIRST_REQUEST:], HELPFUL)
    sums = draw.sample(rows(data / "gsm8k_test.jsonl.gz")[FIRST_REQUEST:], SUMS)
    return [*(first_turn(row["chosen"]) for row in helpful), *(row["question"] for row in sums)]


def texts(data: Path, draw: random.Random) -> list[str]:
    """What people wrote."""
    reviews = draw.sample(rows(data / "movie_reviews_train.jsonl.gz"), TEXTS["reviews"])
    comments = [row for row in rows(data / "jigsaw_train.jsonl.gz") if row["label"] == 0]
    sums = draw.sample(rows(data / "gsm8k_test.jsonl.gz")[FIRST_REQUEST:], TEXTS["solutions"])
    found = [row["text"] for row in (*reviews, *draw.sample(comments, TEXTS["comments"]))]
    solved = [f"{row['question']}\n\n{WORKING.sub('', row['answer'])}" for row in sums]
    return [*(opening(text, TEXT_WORDS) for text in found), *solved]


def main(
    data: Annotated[Path, typer.Argument(help="The folder of the prompts.")],
    out: Annotated[Path, typer.Argument(help="The file to write.")],
) -> None:
    """Write prompts and texts."""
    draw = random.Random(0)
    found: list[dict[str, Any]] = [{"prompt": text} for text in openings(data, draw)]
    found += [{"messages": [{"role": "user", "content": text}]} for text in requests(data, draw)]
    write(out, [*draw.sample(found, len(found)), *({"text": text} for text in texts(data, draw))])


if __name__ == "__main__":
    typer.run(main)
