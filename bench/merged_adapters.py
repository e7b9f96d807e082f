"""Measure what bfloat16 changes in rewards with LoRA adapters: added into the weights, and apart.

    python bench/merged_adapters.py DATA/rtp_toxic.jsonl.gz --out results/merged_adapters.json

Each reward scores the candidates of a model at some places of each text: in float32, and in bfloat16 in both ways. The
table has the error of a reward over the spread of the candidates' rewards, and the nats by which the error changes a
steered step: KL(steered by the float32 reward ‖ steered by the other), with one model and its probabilities.
"""

import gzip
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from jaxtyping import Float, Int
from rich.console import Console
from rich.table import Table
from torch import Tensor

from trimtab.data.json_text import dump_json, parse_json
from trimtab.data.outputs import check_output, write_whole
from trimtab.models.frozen_lm import FrozenLM, PromptBatch
from trimtab.models.loading import load_frozen_lm
from trimtab.models.processor import processor_name
from trimtab.rewards.registry import load_reward
from trimtab.versions import versions

WAYS = {"float32": (torch.float32, True), "apart": (torch.bfloat16, False), "merged": (torch.bfloat16, True)}
TOP_K, EVERY = 20, 4


def read_texts(lm: FrozenLM, path: Path, count: int, tokens: int) -> PromptBatch:
    """The openings of the first texts of a file that are long enough, all of one length."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        texts = [parse_json(line)["prompt"] for line in file.read().split("\n") if line]
    cut = [ids[:tokens] for ids in map(lm.codec.encode_text, texts) if len(ids) >= tokens][:count]
    return lm.batch(cut)


def rewards_of(
    name: str, lm: FrozenLM, merged: bool, batch: PromptBatch, slots: Int[Tensor, "rows places"], ids: Tensor
) -> Float[Tensor, "rows places k"]:
    """The rewards of the candidates `ids` at the places `slots`."""
    reward = load_reward(name, lm, merge_adapters=merged)
    score = reward.network.head.score_candidates
    return score(reward.prefix_encoder, batch.ids, batch.mask, ids, slots)[..., 0].double()


def compare(
    exact: Float[Tensor, "rows places k"],
    found: Float[Tensor, "rows places k"],
    logits: Float[Tensor, "rows places k"],
    beta: float,
) -> dict[str, float]:
    """The error over the spread of the rewards at a place, and the nats of a steered step that it changes."""
    error, spread = found - exact, exact - exact.mean(-1, keepdim=True)
    right, wrong = ((logits + beta * rewards).log_softmax(-1) for rewards in (exact, found))
    nats = (right.exp() * (right - wrong)).sum(-1)
    return {
        "error": float(error.square().mean().sqrt()),
        "error_over_spread": float((error - error.mean(-1, keepdim=True)).norm() / spread.norm()),
        "nats": float(nats.mean()),
        "other_first_choice": float((right.argmax(-1) != wrong.argmax(-1)).double().mean()),
    }


@torch.inference_mode()
def main(
    data: Annotated[Path, typer.Argument(help="A file of prompts.")],
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    reward: Annotated[list[str], typer.Option(help="NAME=β. Repeat for several.")] = [  # noqa: B006
        "toxicity-lora=-30",
        "sentiment-lora=20",
        "toxicity-rad=-30",
        "sentiment-rad=20",
    ],
    texts: Annotated[int, typer.Option(help="Number of texts.")] = 64,
    tokens: Annotated[int, typer.Option(help="Tokens of each text.")] = 16,
    model: str = "smollm2",
) -> None:
    """Compare rewards in bfloat16 with those in float32, adapters merged and apart."""
    target, rows = check_output(out, "--out", replace=True), list[dict[str, Any]]()
    lms = {dtype: load_frozen_lm(model, dtype=dtype) for dtype, _ in WAYS.values()}
    batch = read_texts(lms[torch.float32], data, texts, tokens)
    slots = torch.arange(EVERY, tokens, EVERY).expand(len(batch.ids), -1)
    top = lms[torch.float32].model(batch.ids).logits[:, slots[0] - 1].double().topk(TOP_K)
    for name, beta in (each.split("=") for each in reward):
        found = {
            way: rewards_of(name, lms[dtype], merged, batch, slots, top.indices)
            for way, (dtype, merged) in WAYS.items()
        }
        for way in ("apart", "merged"):
            figures = compare(found["float32"], found[way], top.values, float(beta))
            rows.append({"reward": name, "beta": float(beta), "adapters": way, **figures})
    about = {**versions(), "processor": processor_name(), "texts": len(batch.ids), "places": slots.numel()}
    write_whole(target, dump_json({**about, "rows": rows}, indent=2) + "\n")
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*[f"{value:.3g}" if isinstance(value, float) else value for value in row.values()])
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
