"""Which aggregate of step rewards chooses the better of several drafts: recipes/step-rewards.sh.

    python recipes/step_rewards.py drafts.jsonl --judge profanity --judge onnx:toxicity-bert-tiny \
        --out results/step-rewards.json

The drafts of each prompt are ranked by a reward after each of their sentences, under each aggregate. `last` is the
whole text. Judges that the ranking does not know score the chosen drafts, whole and by their worst sentence. They also
score the first draft of each prompt (no choice), and the best draft by the judge itself (the most that a choice gives).
High scores are bad.
"""

import itertools
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from figure_table import figure_table
from ladder_texts import rows

import trimtab
from trimtab.data.json_text import dump_json
from trimtab.data.outputs import write_whole
from trimtab.evaluation.report.record import figure_entry
from trimtab.evaluation.score.metrics import Ratio
from trimtab.judges import Draft, RewardJudge, StepJudge, load_judge
from trimtab.judges.notation import TOXIC
from trimtab.judges.step_scores import AGGREGATES, step_ends

FIRST, ORACLE = "first draft", "best by the judge"
Row = dict[str, Any]


class Drafts(NamedTuple):
    """The drafts of all prompts, and for each prompt the places of its own."""

    drafts: list[Draft]
    of_prompt: list[list[int]]


def read(path: Path, lm: trimtab.LanguageModel) -> Drafts:
    """The rows of `trimtab generate --n`, as drafts."""
    codec = lm.engine.codec
    found: list[Draft] = []
    places: list[list[int]] = []
    for _, group in itertools.groupby(rows(path), key=lambda row: row["line"]):
        of_prompt: list[Row] = list(group)
        prompt = of_prompt[0]["prompt"]
        places.append(list(range(len(found), len(found) + len(of_prompt))))
        for row in of_prompt:
            ids = tuple(token for token in row["token_ids"] if token not in codec.eos_token_ids)
            found.append(Draft(prompt, tuple(codec.encode_prompt(prompt)), ids, row["text"]))
    return Drafts(found, places)


def rankings(reward: str, lm: trimtab.LanguageModel, drafts: Drafts) -> dict[str, list[int]]:
    """The draft that each ranking chooses of each prompt."""
    judge = RewardJudge(trimtab.reward(reward, lm).away(1.0), alone=True)
    engine, chosen = lm.session().engine, {FIRST: [places[0] for places in drafts.of_prompt]}
    steps = [StepJudge(judge, "last").steps_of(draft, engine) for draft in drafts.drafts]
    flat = iter(judge.score([step for of_draft in steps for step in of_draft], engine))
    step_scores = [[next(flat) for _ in of_draft] for of_draft in steps]
    for name, aggregate in AGGREGATES.items():
        scores = [aggregate(of_draft) for of_draft in step_scores]
        chosen[name] = [max(places, key=scores.__getitem__) for places in drafts.of_prompt]
    return chosen


def judged(spec: str, drafts: Drafts) -> dict[str, np.ndarray]:
    """A judge's scores of all drafts, whole, and of their worst sentences."""
    judge = load_judge(spec, TOXIC)
    sentences = [sentences_of(draft.text) for draft in drafts.drafts]
    flat = [each for of_draft in sentences for each in of_draft]
    scores = iter(judge.score([Draft("", (), (), text) for text in flat], None))
    worst = [max(next(scores) for _ in of_draft) for of_draft in sentences]
    return {"whole": np.array(judge.score(drafts.drafts, None)), "worst sentence": np.array(worst)}


def sentences_of(text: str) -> list[str]:
    """The sentences of a text; the text itself if it has none."""
    ends = step_ends(text, "sentences")
    return [part for start, end in zip([0, *ends], ends, strict=False) if (part := text[start:end].strip())] or [text]


def figures(chosen: dict[str, list[int]], drafts: Drafts, judges: list[str]) -> dict[str, dict[str, Any]]:
    """The mean score of the chosen drafts, by ranking and judge, with intervals over prompts."""
    found: dict[str, dict[str, Any]] = {name: {} for name in (*chosen, ORACLE)}
    for spec in judges:
        for read_as, scores in judged(spec, drafts).items():
            label = f"{Path(spec).name}, {read_as}"
            best = [min(places, key=lambda place: scores[place]) for places in drafts.of_prompt]
            for name, places in {**chosen, ORACLE: best}.items():
                found[name][label] = figure_entry(Ratio(scores[places], np.ones(len(places))))
    return found


def main(
    source: Annotated[Path, typer.Argument(help="The drafts, as `trimtab generate --n --output` writes them.")],
    out: Annotated[Path, typer.Option(help="The file of the figures; a table is written beside it.")],
    judge: Annotated[list[str], typer.Option(help="Judge of the chosen drafts. Repeat for several.")],
    reward: Annotated[
        str, typer.Option(help="The reward that ranks by its low values, with layers of its own.")
    ] = "toxicity-lora",
    model: Annotated[str, typer.Option(help="The language model that wrote the drafts.")] = "smollm2",
) -> None:
    """Rank, judge, and write the table."""
    lm = trimtab.load(model)
    drafts = read(source, lm)
    found = figures(rankings(reward, lm, drafts), drafts, judge)
    steps = [len(step_ends(draft.text, "sentences")) for draft in drafts.drafts]
    about = {"prompts": len(drafts.of_prompt), "drafts": len(drafts.of_prompt[0]), "sentences": float(np.mean(steps))}
    by = {"reward": reward, "model": model}
    write_whole(out, dump_json({"made_by": {**about, **by}, "figures": found}, indent=1) + "\n")
    table = figure_table(found, "chosen by")
    write_whole(out.with_suffix(".md"), table)
    print(table)


if __name__ == "__main__":
    typer.run(main)
