"""TruthfulQA as questions with four choices, half of them to store and half to answer: recipes/choices.sh.

    python recipes/question_sets.py DATA questions

known.jsonl has the questions of a datastore: `prompt`, and `text`, the letter of the right choice. asked.jsonl has the
others: `prompt`, `choices` and `answer`. The right answer is at each place equally often.
"""

import random
from pathlib import Path
from typing import Annotated, Any

import typer
from ladder_texts import rows, write

LETTERS = "ABCD"


def question(row: dict[str, Any], place: int, draw: random.Random) -> dict[str, Any] | None:
    """A question with the best answer at a place, and three incorrect ones; None if it has fewer."""
    best = row["Best Answer"].strip()
    wrong = list(dict.fromkeys(each.strip() for each in row["Incorrect Answers"].split(";")))
    wrong = [each for each in wrong if each and each != best]
    if len(wrong) < len(LETTERS) - 1:
        return None
    answers = draw.sample(wrong, len(LETTERS) - 1)
    answers.insert(place, best)
    listed = "".join(f"{letter}. {answer}\n" for letter, answer in zip(LETTERS, answers, strict=True))
    return {"prompt": f"Question: {row['Question'].strip()}\n{listed}Answer:", "answer": place}


def main(
    data: Annotated[Path, typer.Argument(help="The folder of truthfulqa.jsonl.gz.")],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
) -> None:
    """Write both halves."""
    draw = random.Random(0)
    table = rows(data / "truthfulqa.jsonl.gz")
    draw.shuffle(table)
    found = [each for n, row in enumerate(table) if (each := question(row, n % len(LETTERS), draw))]
    half = len(found) // 2
    known = [{"prompt": each["prompt"], "text": f" {LETTERS[each['answer']]}"} for each in found[:half]]
    choices = [f" {letter}" for letter in LETTERS]
    write(out / "known.jsonl", known)
    write(out / "asked.jsonl", [{**each, "choices": choices} for each in found[half:]])


if __name__ == "__main__":
    typer.run(main)
