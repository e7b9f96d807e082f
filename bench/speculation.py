"""Measure drafts: how many are right, and what a token costs, by reward, strength and kind of text.

    python bench/speculation.py DATA --out results/speculation.json

DATA is the folder of the prompts. "acceptance" is the share of the drafted tokens that are part of the texts. The cost
is the CPU time of a token over that of the same texts written token by token, and over that of unsteered texts written
so; CPU time, because other work on the machine does not change it much. Each pair of runs is made back to back, and
texts are compared: "differ" counts those that are not the same, which near ties in bfloat16 explain, and "compared"
their tokens up to the first that is not.

How many tokens are drafted depends on what a check costs on the machine. With --check-cost it does not: then acceptance
and tokens per call are the same everywhere.
"""

import gzip
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

import trimtab
from trimtab.data.json_text import dump_json, parse_json
from trimtab.data.outputs import check_output, write_whole
from trimtab.engines import draft_length
from trimtab.engines.base import DecodeUsage
from trimtab.engines.provenance import provenance
from trimtab.engines.torch.engine import TorchEngine
from trimtab.engines.torch.loop import DecodeLoop
from trimtab.engines.torch.speculation import agreement
from trimtab.generation import Generation
from trimtab.language_model import LanguageModel
from trimtab.models.codec import Prompt

STEERS = ("none", "sentiment=20", "sentiment=-20", "sentiment=60", "toxicity=-30", "sentiment-own=20")
PASSAGE = "Repeat this text word by word.\n\nText: {text}\n\nRepeated: "
WORDS = 60  # of a passage
FIGURES = {
    "acceptance": "acceptance",
    "tokens_per_forward": "tokens per call",
    "cost": "cost",
    "over_unsteered": "over unsteered",
}
EDIT = "Write this function again, with the name `{name}_again` and without its docstring.\n\n```python\n{code}```"
KINDS = {
    "web": ("draft", "lookup"),
    "answers": ("draft", "lookup"),
    "copies": ("lookup", "draft"),
    "edits": ("lookup", "draft"),
}


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of gzipped JSON lines."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [parse_json(line) for line in file.read().split("\n") if line]


def prompts_of(kind: str, data: Path, count: int) -> list[Prompt]:
    """Openings to continue, requests to answer, passages to repeat, functions to edit; no draft head has seen them."""
    if kind == "web":
        return [row["prompt"] for row in rows(data / "owt_neutral.jsonl.gz")[:count]]
    if kind == "answers":
        return [[{"role": "user", "content": row["question"]}] for row in rows(data / "gsm8k_test.jsonl.gz")[:count]]
    if kind == "edits":
        functions = rows(data / "humaneval.jsonl.gz")[:count]
        asked = [EDIT.format(name=f["entry_point"], code=f["prompt"] + f["canonical_solution"]) for f in functions]
        return [[{"role": "user", "content": text}] for text in asked]
    texts = [" ".join(row["text"].split()[:WORDS]) for row in rows(data / "movie_reviews_dev.jsonl.gz")[:count]]
    return [PASSAGE.format(text=text) + " ".join(text.split()[:4]) for text in texts]


def steer_of(name: str, lm: LanguageModel) -> trimtab.Steer | None:
    """The steer of a row: NAME=β, or none."""
    reward, _, beta = name.partition("=")
    return None if name == "none" else trimtab.reward(reward, lm).toward(float(beta))


def write(
    lm: LanguageModel, prompts: Sequence[Prompt], batch: int, steer: trimtab.Steer | None, **options: Any
) -> tuple[list[Generation], float]:
    """Return the texts, written in batches, and the CPU seconds of a token."""
    start, found = time.process_time(), list[Generation]()
    for first in range(0, len(prompts), batch):
        found += lm.generate(list(prompts[first : first + batch]), steer, seed=0, **options)
    seconds = time.process_time() - start
    return found, seconds / sum(len(each.token_ids) for each in found)


def measure(
    lm: LanguageModel, prompts: Sequence[Prompt], batch: int, steer: str, speculate: str, tokens: int, greedy: bool
) -> dict[str, Any]:
    """Return the acceptance, the tokens of a forward call, and the cost over token by token, steered and unsteered."""
    steering, options = steer_of(steer, lm), {"max_new_tokens": tokens, "temperature": 0.0 if greedy else 1.0}
    plain, slow = write(lm, prompts, batch, steering, **options)
    found, fast = write(lm, prompts, batch, steering, speculate=speculate, **options)
    unsteered = slow if steering is None else write(lm, prompts, batch, None, **options)[1]
    usage = sum((each.usage for each in found), start=DecodeUsage())
    same = [agreement(one.token_ids, other.token_ids) for one, other in zip(found, plain, strict=True)]
    differ = sum(one.token_ids != other.token_ids for one, other in zip(found, plain, strict=True))
    compared = {"compared": sum(same) + differ, "differ": differ, "texts": len(found)}
    costs = {"cost": fast / slow, "over_unsteered": fast / unsteered, "plain_seconds": slow}
    return {**usage.as_dict(), **costs, **compared}


def main(
    data: Annotated[Path, typer.Argument(help="The folder of the prompts.")],
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    model: str = "smollm2",
    draft: Annotated[
        str | None, typer.Option(help="A draft head, or another model; default: the one that ships.")
    ] = None,
    batch: Annotated[list[int], typer.Option(help="Texts written together. Repeat for several.")] = [1],  # noqa: B006
    prompts: Annotated[int, typer.Option(help="Prompts of each kind.")] = 6,
    tokens: int = 48,
    steer: Annotated[list[str] | None, typer.Option(help="NAME=β or none. Repeat for several.")] = None,
    dtype: Annotated[str, typer.Option(help="bfloat16 or float32.")] = "bfloat16",
    kind: Annotated[list[str] | None, typer.Option(help="web, answers, copies or edits. Repeat for several.")] = None,
    speculate: Annotated[
        list[str] | None, typer.Option(help="draft or lookup. Repeat for several; default: what suits the texts.")
    ] = None,
    greedy: Annotated[bool, typer.Option("--greedy", help="At temperature 0.")] = False,
    check_cost: Annotated[
        str | None,
        typer.Option(
            help="Draft as where a check costs this: CALL,TOKEN, in steps, for the call and for each token in it. "
            "Default: the estimate for this machine."
        ),
    ] = None,
    chains: Annotated[bool, typer.Option("--chains", help="Draft no trees.")] = False,
) -> None:
    """Write the same texts token by token and with drafts."""
    if check_cost is not None:
        call, token = map(float, check_cost.split(","))
        draft_length._measured_cost = lambda model: draft_length.CheckCost(call, token)
    if chains:
        DecodeLoop.checks_branches = False  # type: ignore[assignment]
    target, console = check_output(out, "--out", replace=True), Console(width=140)
    lm = trimtab.load(model, dtype=dtype, draft=draft)  # type: ignore[arg-type]
    lm.generate("Warm up", max_new_tokens=4, seed=0)
    table = Table(
        "texts", "batch", "steer", "drafts by", "acceptance", "tokens per call", "cost", "over unsteered", "differ"
    )
    assert isinstance(lm.engine, TorchEngine)
    proposers = lm.engine.proposers
    found = []
    for name in kind or list(KINDS):
        given = prompts_of(name, data, prompts)
        for size in batch:
            for steering in steer or STEERS:
                for by in (each for each in speculate or KINDS[name] if each in proposers):
                    row = measure(lm, given, size, steering, by, tokens, greedy)
                    found.append({"kind": name, "batch": size, "steer": steering, "speculate": by, **row})
                    shown = [
                        f"{row[each]:.2f}" for each in ("acceptance", "tokens_per_forward", "cost", "over_unsteered")
                    ]
                    table.add_row(name, str(size), steering, by, *shown, f"{row['differ']} of {row['texts']}")
                    console.print(found[-1])
    settings: dict[str, Any] = {"tokens": tokens, "greedy": greedy, "check_cost": check_cost, "chains": chains}
    about = provenance(lm.engine, **settings, threads=torch.get_num_threads())
    write_whole(target, dump_json({**about, "rows": found}, indent=2) + "\n")
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
