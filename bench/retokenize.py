"""Measure the cost of a reward of another tokenizer that steers at once, on text that is encoded again at every token.

    python bench/retokenize.py --model gemma-3-270m.gguf --reward toxicity-rad --out results/retokenize.json

The cost is the CPU time of steered texts over that of plain ones from the same top k, the median of runs in turn. CPU
time, because other work on the machine does not change it much. The figures hold for this pair of models: the reward's
trunk runs about k tokens for each token of the language model.
"""

import statistics
import time
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import typer
from rich.console import Console
from rich.table import Table

import trimtab
from trimtab.data.json_text import dump_json
from trimtab.data.outputs import check_output, write_whole
from trimtab.engines.provenance import provenance

SENTENCES = (
    "The new neighbours are",
    "My first day at work was",
    "I think that the government",
    "When she opened the letter,",
    "The food in this restaurant",
    "Everybody in the room knew",
    "After the match the players",
    "What I like about my brother",
)
FILLER = "They moved in last week, and we have talked to them twice. "


class Case(NamedTuple):
    """What is written: texts at once, candidates per token, and the least tokens of the prompt."""

    rows: int
    top_k: int
    prompt_tokens: int


CASES = [Case(1, 20, 1), Case(1, 50, 1), Case(8, 20, 1), Case(1, 20, 256)]


def prompt_of(lm: trimtab.LanguageModel, text: str, tokens: int) -> str:
    """Return a prompt of at least this many tokens that ends in a text."""
    while len(lm.engine.codec.encode_prompt(text)) < tokens:
        text = FILLER + text
    return text


def measure(lm: trimtab.LanguageModel, steer: trimtab.Steer, case: Case, tokens: int, rounds: int) -> dict[str, Any]:
    """Return the cost of a case, and the tokens through the reward's trunk for each new token."""
    prompts = [prompt_of(lm, text, case.prompt_tokens) for text in SENTENCES[: case.rows]]

    def seconds(by: trimtab.Steer | None, new: int) -> float:
        start = time.process_time()
        lm.generate(prompts, by, max_new_tokens=new, top_k=case.top_k, seed=0)
        return time.process_time() - start

    def encoded(by: trimtab.Steer | None, new: int) -> int:
        before = lm.engine.usage
        lm.generate(prompts, by, max_new_tokens=new, top_k=case.top_k, seed=0)
        return (lm.engine.usage - before).tokens

    steered, plain = (encoded(by, tokens) - encoded(by, 1) for by in (steer, None))
    per_token = (steered - plain) / ((tokens - 1) * case.rows)
    costs = []
    for _ in range(rounds):
        slow, quick = (seconds(by, tokens) - seconds(by, 1) for by in (steer, None))
        costs.append(slow / quick)
    return {
        **case._asdict(),
        "cost": round(statistics.median(costs), 2),
        "lowest": round(min(costs), 2),
        "highest": round(max(costs), 2),
        "reward_tokens_per_token": round(per_token, 1),
    }


def main(
    model: Annotated[str, typer.Option(help="The language model to steer.")],
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    reward: Annotated[str, typer.Option(help="A reward of another tokenizer, with a V-head.")] = "toxicity-rad",
    tokens: Annotated[int, typer.Option(help="New tokens of each text; the first is not timed.")] = 16,
    rounds: Annotated[int, typer.Option(help="Rounds of timing.")] = 5,
    threads: Annotated[int, typer.Option(help="Threads of torch.")] = 1,
) -> None:
    """Print a table of costs."""
    torch.set_num_threads(threads)
    target = check_output(out, "--out", replace=True)
    lm = trimtab.load(model, dtype=torch.float32)
    steer = trimtab.reward(reward, lm, retokenize=True).away(30)
    lm.generate(SENTENCES[0], steer, max_new_tokens=2)
    table = Table("texts at once", "candidates", "prompt", "CPU time over plain", "reward tokens per token")
    found = []
    for case in CASES:
        row = measure(lm, steer, case, tokens, rounds)
        found.append(row)
        prompt = f"{case.prompt_tokens} tokens" if case.prompt_tokens > 1 else "short"
        cost = f"{row['cost']:.2f}× ({row['lowest']:.2f} to {row['highest']:.2f})"
        table.add_row(str(case.rows), str(case.top_k), prompt, cost, f"{row['reward_tokens_per_token']:.1f}")
    record = provenance(lm.engine, steer, tokens=tokens, rounds=rounds, threads=threads, rows=found)
    write_whole(target, dump_json(record, indent=2) + "\n")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
