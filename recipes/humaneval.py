r"""HumanEval by sampling, best-of-n, repairs and rewind: recipes/humaneval.sh.

    python recipes/humaneval.py runs/humaneval --model Qwen/Qwen2.5-Coder-1.5B-Instruct --texts runs/humaneval/qwen \
        --out results/humaneval.json

Methods see the examples in the docstring (visible.jsonl); the tests of the benchmark (hidden.jsonl) count. pass@1 is
the share of problems that are solved by the one text that a method gives; of sampling, the mean over the drafts of the
larger best-of-n. Costs are the tokens that the engine encodes for a problem, padding included.

What is written is kept, batch by batch. An interrupted run resumes.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from figure_table import figure_table
from ladder_texts import rows
from written_texts import Method, Row, in_order, written

import trimtab
from trimtab.data.json_text import dump_json
from trimtab.data.outputs import write_whole
from trimtab.evaluation.report.record import figure_entry
from trimtab.evaluation.score.metrics import Ratio
from trimtab.judges import Draft, UnitTests
from trimtab.judges.sandbox import Outcome
from trimtab.judges.unit_tests import load_tests
from trimtab.rewind.rewind_settings import Budget

STOP = ("\ndef ", "\nclass ", "\nif ", "\nprint", "\nassert", "\n#", "\n@", "\n```")
TEMPERATURE, SEED = 0.8, 0
SAMPLING = "sampling"


def methods(tests: UnitTests, tokens: int, drafts: int) -> dict[str, Method]:
    """What is compared: each writes texts for some prompts."""
    params = trimtab.SamplingParams(max_new_tokens=tokens, stop=STOP, seed=SEED, temperature=TEMPERATURE)
    settings = trimtab.RewindSettings(
        whole_drafts=True, max_new_tokens=tokens, draft_tokens=tokens, temperature=TEMPERATURE, lookahead=drafts
    )

    def draw(temperature: float) -> Method:
        return lambda lm, prompts: [
            [each.text] for each in lm.generate(prompts, params=params, temperature=temperature)
        ]

    def best_of(n: int, repairs: int = 0) -> Method:
        def write_and_rank(lm: trimtab.LanguageModel, prompts: list[str]) -> list[list[str]]:
            ranked = lm.best_of(prompts, n, by=tests, params=params, repairs=repairs)
            return [[each.text, *in_order(each.drafts)] for each in ranked]

        return write_and_rank

    def rewind(lm: trimtab.LanguageModel, prompts: list[str]) -> list[list[str]]:
        budget = Budget(max_iterations=drafts)
        found = lm.rewind(prompts, tests, settings=settings, similarity="off", stop=STOP, seed=SEED, budget=budget)
        return [[each.text] for each in found]

    return {
        "greedy": draw(0.0),
        SAMPLING: draw(TEMPERATURE),
        f"best of {drafts // 2}": best_of(drafts // 2),
        f"best of {drafts}": best_of(drafts),
        f"best of {drafts // 2}, 2 repairs": best_of(drafts // 2, repairs=2),
        f"rewind, {drafts} drafts": rewind,
    }


def passed(tests: UnitTests, prompt: str, texts: list[str]) -> list[float]:
    """1 for each text that passes, else 0."""
    reports = tests.reports([Draft(prompt, (), (), text) for text in texts])
    return [float(report.outcome is Outcome.PASSED) for report in reports]


def figures(found: list[Row], seen: UnitTests, hidden: UnitTests) -> dict[str, Any]:
    """pass@1 and the share that passes the examples, with intervals over problems, and the mean cost."""
    one = np.ones(len(found))
    shares = {
        name: np.array([np.mean(passed(tests, row["prompt"], row["texts"])) for row in found])
        for name, tests in (("pass@1", hidden), ("passes the examples", seen))
    }
    cost = np.array([row["encoded"] for row in found])
    ratios = {name: Ratio(share, one) for name, share in shares.items()} | {"tokens encoded": Ratio(cost, one)}
    return {name: figure_entry(ratio) for name, ratio in ratios.items()}


def main(
    folder: Annotated[Path, typer.Argument(help="visible.jsonl and hidden.jsonl, of humaneval_problems.py.")],
    out: Annotated[Path, typer.Option(help="The file of the figures; a table is written beside it.")],
    texts: Annotated[Path, typer.Option(help="The folder of what the model writes: another one for each model.")],
    model: Annotated[str, typer.Option(help="The language model.")],
    dtype: Annotated[Literal["auto", "float32", "bfloat16"], typer.Option(help="Its number format.")] = "auto",
    drafts: Annotated[int, typer.Option(help="Drafts of best-of-n and of rewind.")] = 4,
    tokens: Annotated[int, typer.Option(help="Maximum tokens of a program.")] = 160,
    batch: Annotated[int, typer.Option(help="Prompts at once.")] = 40,
) -> None:
    """Write, judge, and print the table."""
    lm = trimtab.load(model, dtype=dtype)
    seen, hidden = load_tests(folder / "visible.jsonl"), load_tests(folder / "hidden.jsonl")
    prompts = [str(row["prompt"]) for row in rows(folder / "visible.jsonl")]
    made = {
        name: written(lm, name, method, prompts, texts / f"{name.replace(' ', '-')}-{tokens}.jsonl", batch)
        for name, method in methods(seen, tokens, drafts).items()
    }
    answers = {name: [{**row, "texts": row["texts"][:1]} for row in of] for name, of in made.items()}
    of_drafts = zip(made[SAMPLING], made[f"best of {drafts}"], strict=True)
    answers[SAMPLING] = [{**row, "texts": ranked["texts"][1:]} for row, ranked in of_drafts]
    found = {name: figures(of, seen, hidden) for name, of in answers.items()}
    by = {"model": Path(model).name, "dtype": dtype, "temperature": TEMPERATURE}
    about = {**by, "problems": len(prompts), "drafts": drafts, "tokens": tokens}
    write_whole(out, dump_json({"made_by": about, "figures": found}, indent=1) + "\n")
    table = figure_table(found, "method")
    write_whole(out.with_suffix(".md"), table)
    print(table)


if __name__ == "__main__":
    typer.run(main)
