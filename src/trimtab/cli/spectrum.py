"""`trimtab spectrum`: the rank of rewards."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.cli.consoles import error_console

if TYPE_CHECKING:
    from rich.table import Table

    from trimtab.frozen.lm import FrozenLM
    from trimtab.rewards.spectrum import Spectrum

SMALLEST = 16


def spectrum(
    rewards: Annotated[list[str], typer.Argument(help="Bundled names, folders or Hub ids, of one base.")],
    data: Annotated[str, typer.Option(help="A table of texts; a prefix of random length is taken of each.")],
    text_column: Annotated[str, typer.Option(help="The column of the text.")] = "text",
    prefixes: Annotated[int, typer.Option(help="How many prefixes: the rows of the matrix.")] = 512,
    tokens: Annotated[
        int, typer.Option(help="How many tokens, drawn from the vocabulary: its columns; 0 for all.")
    ] = 1024,
    attribute: Annotated[str | None, typer.Option(help="Which reward. Default: the first.")] = None,
    out: Annotated[Path | None, typer.Option(help="A folder for spectrum.json and spectrum.png.")] = None,
    seed: Annotated[int, typer.Option(help="For the prefixes and the tokens.")] = 0,
) -> None:
    """Print the numerical and the effective rank of rewards against the number of prefixes (2407.04615).

    The matrix holds the reward of every token after every prefix. A V-head runs a forward for each cell: the default
    of 512 × 1,024 takes minutes on a CPU. Example: trimtab spectrum sentiment sentiment-rad --data sst2.jsonl
    """
    import torch
    from rich.console import Console

    from trimtab.frozen.sources import load_frozen
    from trimtab.rewards.card import read_card
    from trimtab.rewards.catalogue import find_reward
    from trimtab.rewards.spectrum import draw_cells
    from trimtab.training.data import encode_all, read_labelled

    lm = load_frozen(read_card(find_reward(rewards[0])).base, dtype=torch.float32)
    texts = encode_all(lm, [row.text for row in read_labelled(data, [], text_column).rows])
    rows, columns = draw_cells([ids for ids in texts if ids], len(lm.tokenizer), prefixes, tokens or None, seed)
    counts = [count for count in (SMALLEST << i for i in range(20)) if count < prefixes] + [prefixes]
    short = {name: Path(name).name for name in rewards}
    labels = short if len(set(short.values())) == len(short) else {name: name for name in rewards}
    found = {labels[name]: of_reward(name, lm, rows, columns, attribute, counts) for name in rewards}
    console = Console()
    console.print(f"ranks of N prefixes × {len(columns)} tokens; hidden size {lm.output_embedding.shape[1]}")
    console.print(table(found))
    if out is not None:
        about = {"data": Path(data).name, "tokens": len(columns), "seed": seed, "attribute": attribute}
        write(found, about, out)
        console.print(f"wrote spectrum.json and spectrum.png into {out}", highlight=False)


def of_reward(
    name: str, lm: "FrozenLM", rows: "list[Any]", columns: "Any", attribute: str | None, counts: list[int]
) -> "list[Spectrum]":
    """The spectra of one reward, with a progress bar."""
    from trimtab.cli.progress import counting
    from trimtab.rewards.shelf import load_reward
    from trimtab.rewards.spectrum import reward_matrix, spectra

    with counting(name, error_console()) as progress:
        return spectra(reward_matrix(load_reward(name, lm), rows, columns, attribute, progress), counts)


def table(found: "dict[str, list[Spectrum]]") -> "Table":
    """Both ranks of every reward, a row for each number of prefixes."""
    from rich.table import Table

    shown = Table("N", *[f"{name}: {kind}" for name in found for kind in ("numerical", "effective")], box=None)
    for of_count in zip(*found.values(), strict=True):
        ranks = [rank for s in of_count for rank in (f"{s.numerical_rank}", f"{s.effective_rank:.1f}")]
        shown.add_row(f"{of_count[0].prefixes}", *ranks)
    return shown


def write(found: "dict[str, list[Spectrum]]", about: dict[str, Any], out: Path) -> None:
    """spectrum.json: ranks and singular values; spectrum.png: both, drawn."""
    from trimtab.plots import plot_spectra

    out.mkdir(parents=True, exist_ok=True)
    ranks = {
        name: [{"prefixes": s.prefixes, "numerical": s.numerical_rank, "effective": s.effective_rank} for s in of_name]
        for name, of_name in found.items()
    }
    values = {name: [float(f"{value:.4g}") for value in of_name[-1].values] for name, of_name in found.items()}
    text = json.dumps({**about, "ranks": ranks, "singular_values": values}, indent=1)
    (out / "spectrum.json").write_text(text + "\n", encoding="utf-8")
    plot_spectra(found, out / "spectrum.png")
