"""The texts from which a ladder learns: prompts to continue, and then the training file.

    python recipes/ladder_texts.py prompts sentiment DATA prompts/sentiment
    python recipes/ladder_texts.py texts sentiment DATA samples/sentiment texts/sentiment
    python recipes/ladder_texts.py mix texts/tone/all.jsonl texts/toxicity/all.jsonl texts/sentiment/all.jsonl

The prompts are those from row 1,000 on, so they are not the first ones, which `trimtab evaluate` continues.
"""

import gzip
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

Task = Literal["sentiment", "toxicity"]
PROMPTS: dict[Task, tuple[str, ...]] = {
    "sentiment": ("owt_neutral", "owt_positive", "owt_negative"),
    "toxicity": ("rtp_toxic", "rtp_nontoxic"),
}
FIRST_PROMPT = 1000
DENSE_TEXTS = 1600  # of people, beside the samples
MIXED_TEXTS = 4000  # of each training file
SAMPLES = {"plain": 800, "up": 400, "down": 400}  # texts to write: unsteered, steered towards, steered away

app = typer.Typer()
Data = Annotated[Path, typer.Argument(help="The folder of prompts and labelled texts.")]


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of JSON lines, gzipped or not."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file.read().split("\n") if line]


def write(path: Path, written: Sequence[Mapping[str, object]]) -> None:
    """Write JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in written), encoding="utf-8")


@app.command()
def prompts(task: Task, data: Data, out: Path) -> None:
    """Write plain.jsonl, up.jsonl and down.jsonl: prompts for the language model to continue."""
    found = [row["prompt"] for name in PROMPTS[task] for row in rows(data / f"{name}.jsonl.gz")[FIRST_PROMPT:]]
    drawn = iter(random.Random(0).sample(found, sum(SAMPLES.values())))
    for name, count in SAMPLES.items():
        write(out / f"{name}.jsonl", [{"prompt": next(drawn)} for _ in range(count)])


@app.command()
def texts(task: Task, data: Data, samples: Path, out: Path) -> None:
    """Write all.jsonl, texts of people and samples of the model, and dense.jsonl, with fewer texts of people."""
    draw = random.Random(0)
    people = sentiment_texts(data, draw) if task == "sentiment" else toxicity_texts(data, draw)
    written = [f"{row['prompt']}{row['text']}" for name in SAMPLES for row in rows(samples / f"{name}.jsonl")]
    for name, mixed in {"all": [*people, *written], "dense": [*draw.sample(people, DENSE_TEXTS), *written]}.items():
        write(out / f"{name}.jsonl", [{"text": text} for text in draw.sample(mixed, len(mixed))])


@app.command()
def mix(out: Path, files: list[Path]) -> None:
    """Write texts of several training files, for one ladder that learns from several teachers."""
    mixed = [row for file in files for row in rows(file)[:MIXED_TEXTS]]
    write(out, random.Random(0).sample(mixed, len(mixed)))


def sentiment_texts(data: Path, draw: random.Random) -> list[str]:
    """Longer phrases of SST-2 and openings of IMDB's reviews; Rotten Tomatoes has SST-2's held-out texts."""
    phrases = [str(row["text"]) for row in rows(data / "sst2_train.jsonl.gz")]
    reviews = [str(r["text"]) for r in rows(data / "movie_reviews_train.jsonl.gz") if r["source"] == "imdb"]
    long = [phrase for phrase in phrases if len(phrase.split()) >= 10]
    return [*draw.sample(long, 8000), *(opening(review, 30) for review in draw.sample(reviews, 2000))]


def toxicity_texts(data: Path, draw: random.Random) -> list[str]:
    """Comments, as many toxic ones as others, and both sides of ParaDetox."""
    comments = rows(data / "jigsaw_train.jsonl.gz")
    pairs = draw.sample(rows(data / "paradetox_train.jsonl.gz"), 1000)
    sides = [draw.sample([str(row["text"]) for row in comments if row["label"] == label], 2000) for label in (0, 1)]
    return [text for side in sides for text in side] + [str(pair[side]) for pair in pairs for side in pair]


def opening(text: str, words: int) -> str:
    """The first words of a text."""
    return " ".join(text.split()[:words])


if __name__ == "__main__":
    app()
