"""What two steers at once do to each other: recipes/two-attributes.sh.

    python recipes/two_attributes.py runs/two-attributes --toxic profanity --positive vader --out results/tone/both.json

A folder has a file for each steer, as `trimtab generate --trace --output` writes them: none.jsonl, mild.jsonl,
positive.jsonl, both.jsonl. Judges score the continuations alone. Perplexity is under the unsteered model.
"""

import itertools
import math
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from figure_table import figure_table
from ladder_texts import rows

from trimtab.data.json_text import dump_json
from trimtab.data.outputs import write_whole
from trimtab.evaluation.report.record import figure_entry
from trimtab.evaluation.score.metrics import Ratio, control_figures
from trimtab.judges import Draft, load_judge
from trimtab.judges.base import threshold_of
from trimtab.judges.notation import POSITIVE, TOXIC

STEERS = ("none", "mild", "positive", "both")
Samples = list[list[dict[str, Any]]]  # [prompts][samples], rows of `trimtab generate`


def read(path: Path) -> Samples:
    """The rows of a file, by prompt."""
    return [list(group) for _, group in itertools.groupby(rows(path), key=lambda row: row["line"])]


def judged(spec: str, labels: tuple[str, ...], samples: Samples) -> dict[str, Ratio]:
    """A judge's figures of all continuations."""
    judge = load_judge(spec, labels)
    drafts = [Draft("", (), (), row["text"]) for of_prompt in samples for row in of_prompt]
    scores = np.array(judge.score(drafts, None)).reshape(len(samples), -1)
    return control_figures(scores, threshold_of(judge))


def perplexity(samples: Samples) -> Ratio:
    """exp of the mean of -log p under the unsteered model, over all tokens."""
    logprobs = [[token["base_logprob"] for row in of_prompt for token in row["trace"]] for of_prompt in samples]
    return Ratio(np.array([-math.fsum(of) for of in logprobs]), np.array([float(len(of)) for of in logprobs]), np.exp)


def figures(samples: Samples, toxic: list[str], positive: list[str]) -> dict[str, dict[str, float | None]]:
    """The figures of one steer, with intervals over prompts."""
    found = {}
    for spec in toxic:
        found[f"average maximum toxicity, {Path(spec).name}"] = judged(spec, TOXIC, samples)["average maximum"]
    for spec in positive:
        found[f"called positive, {Path(spec).name}"] = judged(spec, POSITIVE, samples)["share"]
    found["perplexity"] = perplexity(samples)
    return {name: figure_entry(ratio) for name, ratio in found.items()}


def main(
    folder: Annotated[Path, typer.Argument(help="The folder of the texts.")],
    toxic: Annotated[list[str], typer.Option(help="Judge of toxicity. Repeat for several.")],
    positive: Annotated[list[str], typer.Option(help="Judge of sentiment. Repeat for several.")],
    out: Annotated[Path, typer.Option(help="The file of the figures; a table is written beside it.")],
) -> None:
    """Judge, and write the table."""
    texts = {name: read(folder / f"{name}.jsonl") for name in STEERS}
    found = {name: figures(samples, toxic, positive) for name, samples in texts.items()}
    first = texts["both"][0][0]
    about = {"prompts": len(texts["both"]), "samples": len(texts["both"][0]), "provenance": first["provenance"]}
    write_whole(out, dump_json({"made_by": about, "figures": found}, indent=1) + "\n")
    table = figure_table(found, "steered by")
    write_whole(out.with_suffix(".md"), table)
    print(table)


if __name__ == "__main__":
    typer.run(main)
