"""Measure how far a reward steers: a judge's verdict, perplexity and changed first choices, for several β.

    python bench/steering.py --prompts owt_neutral.jsonl.gz --reward sentiment --judge vader --out results/x.json

`vader` calls prompt + continuation positive if its compound score is above 0 (vaderSentiment). `profanity` gives the
probability that the continuation is toxic (alt-profanity-check). Neither has seen the reward. Perplexity is that of
the continuation under the unsteered model. Intervals are 95 %, bootstrapped over prompts.
"""

import json
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

import trimtab
from trimtab.data.jsonlines import read_lines
from trimtab.generation import Generation

BOOTSTRAPS = 2000


def vader() -> Callable[[Generation], float]:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()
    return lambda g: float(analyzer.polarity_scores(f"{g.prompt}{g.text}")["compound"] > 0)


def profanity() -> Callable[[Generation], float]:
    from profanity_check import predict_prob

    return lambda g: float(predict_prob([g.text])[0])


JUDGES = {"vader": vader, "profanity": profanity}


def interval(of_prompts: np.ndarray) -> list[float]:
    """Return the 95 % bootstrap interval of a mean over prompts."""
    draws = np.random.default_rng(0).choice(of_prompts, (BOOTSTRAPS, len(of_prompts)))
    return [float(x) for x in np.quantile(draws.mean(1), [0.025, 0.975])]


def measure(written: Sequence[Sequence[Generation]], judge: Callable[[Generation], float]) -> dict[str, Any]:
    """Return the figures of one β; `written` is [prompts][samples]."""
    verdicts = np.array([[judge(g) for g in of_prompt] for of_prompt in written])
    tokens = [token for of_prompt in written for g in of_prompt for token in g.trace]
    words = [g.token_ids for of_prompt in written for g in of_prompt]
    pairs = [list(pairwise(ids)) for ids in words]
    return {
        "mean": float(verdicts.mean()),
        "interval": interval(verdicts.mean(1)),
        "mean_of_maximum": float(verdicts.max(1).mean()),
        "share_with_maximum_from_half": float((verdicts.max(1) >= 0.5).mean()),
        "perplexity": float(np.exp(-np.mean([token.choice.base_logprob for token in tokens]))),
        "top1_flip": float(np.mean([token.choice.flipped for token in tokens])),
        "distinct_2": float(np.mean([len(set(p)) / len(p) for p in pairs if p])),
    }


def main(
    prompts: Annotated[Path, typer.Option(help='JSON lines with a "prompt".')],
    reward: Annotated[str, typer.Option(help="A bundled name, a folder or a Hub id.")],
    judge: Annotated[str, typer.Option(help="vader or profanity.")],
    out: Annotated[Path, typer.Option(help="The JSON file to write; the texts are written beside it.")],
    model: str = "smollm2",
    beta: Annotated[list[float] | None, typer.Option(help="Repeat; below 0 steers away. Default: -20, 0, 20.")] = None,
    limit: int = 100,
    n: int = 4,
    max_new_tokens: int = 20,
    top_k: int = 20,
    batch_size: int = 16,
    seed: int = 0,
) -> None:
    """Measure a reward's steering strength."""
    lm = trimtab.load(model)
    guide = trimtab.reward(reward, lm)
    texts = [line.row["prompt"] for line in read_lines(prompts) if line.row][:limit]
    verdict = JUDGES[judge]()
    table = Table("β", judge, "95 %", "mean of max", "max ≥ ½", "perplexity", "top1 flip", "distinct-2", "tokens/s")
    params = trimtab.SamplingParams(n=n, max_new_tokens=max_new_tokens, top_k=top_k, seed=seed)
    rows = []
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.with_suffix(".texts.jsonl").open("w", encoding="utf-8") as file:
        for strength in beta or [-20.0, 0.0, 20.0]:
            steer = guide.away(-strength) if strength < 0 else guide.toward(strength)
            written: list[Sequence[Generation]] = []
            start = time.perf_counter()
            for place in range(0, len(texts), batch_size):
                written += [g.samples for g in lm.generate(texts[place : place + batch_size], steer, params)]
            seconds = time.perf_counter() - start
            row = {"beta": strength, **measure(written, verdict)}
            row["tokens_per_second"] = sum(len(g.token_ids) for of in written for g in of) / seconds
            rows.append(row)
            for generation in (g for of_prompt in written for g in of_prompt):
                line = {"beta": strength, "prompt": generation.prompt, "text": generation.text}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            figures = ("mean_of_maximum", "share_with_maximum_from_half", "perplexity", "top1_flip", "distinct_2")
            low, high = row["interval"]
            cells = [f"{row[figure]:.3g}" for figure in figures]
            table.add_row(
                f"{strength:+g}",
                f"{row['mean']:.3f}",
                f"{low:.3f}–{high:.3f}",
                *cells,
                f"{row['tokens_per_second']:.0f}",
            )
    settings = {"prompts": prompts.name, "limit": len(texts), "n": n, "top_k": top_k, "max_new_tokens": max_new_tokens}
    about = {"model": model, "reward": reward, "judge": judge, "seed": seed, "torch": torch.__version__, **settings}
    out.write_text(json.dumps({**about, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    Console(width=130).print(
        f"{reward} on {model}: {len(texts)} prompts × {n} × {max_new_tokens} tokens, k = {top_k}", table
    )


if __name__ == "__main__":
    typer.run(main)
