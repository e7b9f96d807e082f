"""Time the linear maps of one step of a decode loop by torch's product, by halves, and by packed copies.

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

from trimtab.data.json_text import dump_json
from trimtab.data.outputs import check_output, write_whole
from trimtab.models.loading import load_frozen_lm
from trimtab.models.packed_weights import packed_copy, packed_product
from trimtab.models.processor import processor_name
from trimtab.models.quick_linear import by_halves
from trimtab.versions import versions

TOKENS = [1, 2, 3, 4, 5, 8, 16, 32, 128]  # of a step: the rows of a batch, or the places of a draft

Product = Callable[[Tensor, Tensor], Tensor]


def by_packed_copy(input: Tensor, weight: Tensor) -> Tensor:
    """The product of a packed copy, which the first call makes."""
    packed = packed_copy(weight)
    assert packed is not None, "oneDNN's packed products are not in torch"
    return packed_product(input, packed)


PRODUCTS: dict[str, Product] = {"torch": functional.linear, "halves": by_halves, "packed": by_packed_copy}


def step(weights: list[Tensor], tokens: int, product: Product) -> float:
    """Milliseconds to multiply each weight with some tokens."""
    inputs = {weight.shape[1]: torch.randn(tokens, 1, weight.shape[1]).to(weight.dtype) for weight in weights}
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
    """Time the products of all linear maps of a model, in float32 and in bfloat16."""
    target, console = check_output(out, "--out", replace=True), Console()
    rows = []
    for dtype in ("float32", "bfloat16"):
        with torch.inference_mode(False):
            lm = load_frozen_lm(model, "cpu", getattr(torch, dtype))
        weights = [part.weight for part in lm.model.modules() if isinstance(part, nn.Linear)]
        table = Table(
            "tokens", *(f"{name}, ms" for name in PRODUCTS), title=f"{dtype}, {torch.get_num_threads()} threads"
        )
        for tokens in TOKENS:
            runs = [{name: step(weights, tokens, each) for name, each in PRODUCTS.items()} for _ in range(rounds)]
            best = {f"{name}_ms": min(run[name] for run in runs) for name in PRODUCTS}
            rows.append({"dtype": dtype, "tokens": tokens, **best})
            table.add_row(str(tokens), *(f"{value:.1f}" for value in best.values()))
        console.print(table)
    about = {"model": model, "threads": torch.get_num_threads(), "processor": processor_name(), **versions()}
    write_whole(target, dump_json({**about, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
