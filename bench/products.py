"""Time the linear maps of one step of a decode loop: torch's product, and the product of halves of `few_tokens_linear`.

    python bench/products.py --out results/products.json

Every weight of the model is multiplied in turn with the same few tokens, as a step does, so that none is in the cache
of the processor. The table has the milliseconds of a step's products alone, the best of some rounds.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

from trimtab.benchmark.run import processor
from trimtab.data.json_text import dump_json
from trimtab.data.outputs import check_output, write_whole
from trimtab.models.few_tokens import MORE_THREADS, few_tokens_linear
from trimtab.models.loading import load_frozen_lm
from trimtab.versions import versions

TOKENS = [1, 2, 4, 8, 16, MORE_THREADS]  # of a step: the rows of a batch

Product = Callable[[Tensor, Tensor], Tensor]


def step(weights: list[Tensor], tokens: int, product: Product) -> float:
    """Milliseconds to multiply each weight with some tokens."""
    inputs = {weight.shape[1]: torch.randn(tokens, 1, weight.shape[1]) for weight in weights}
    start = time.perf_counter()
    for weight in weights:
        product(inputs[weight.shape[1]], weight)
    return 1000 * (time.perf_counter() - start)


@torch.inference_mode()
def main(
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    model: str = "smollm2",
    rounds: int = 7,
) -> None:
    """Time both products of all linear maps of a model, in float32."""
    target = check_output(out, "--out", replace=True)
    lm = load_frozen_lm(model, "cpu", torch.float32)
    weights = [part.weight for part in lm.model.modules() if isinstance(part, nn.Linear)]
    table = Table("tokens", "torch, ms", "halves, ms", "ratio", title=f"{torch.get_num_threads()} threads")
    rows = []
    for count in TOKENS:
        plain, halves = zip(
            *(
                (step(weights, count, functional.linear), step(weights, count, few_tokens_linear))
                for _ in range(rounds)
            ),
            strict=True,
        )
        row = {"tokens": count, "torch_ms": min(plain), "halves_ms": min(halves), "ratio": min(halves) / min(plain)}
        rows.append(row)
        table.add_row(str(count), *(f"{row[name]:.1f}" for name in ("torch_ms", "halves_ms")), f"{row['ratio']:.2f}")
    Console().print(table)
    about = {"model": model, "threads": torch.get_num_threads(), "processor": processor(), **versions()}
    write_whole(target, dump_json({**about, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
