"""`trimtab spectrum`: measure the rank of rewards."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.cli.console import error_console
from trimtab.cli.options import TextColumn

if TYPE_CHECKING:
    from rich.table import Table

    from trimtab.models.frozen_lm import FrozenLM
    from trimtab.rewards.spectrum import Spectrum

FEWEST_PREFIXES = 16  # ranks are printed for 16, 32, 64 … prefixes


def spectrum(
    rewards: Annotated[list[str], typer.Argument(help="Bundled rewards, folders or Hub ids, all of one base.")],
    data: Annotated[
        str,
        typer.Option(
            help="Texts: a .jsonl, .csv or .tsv file (.gz allowed), or a Hub id. Each gives a prefix of random length."
        ),
    ],
    text_column: TextColumn = "text",
    prefixes: Annotated[int, typer.Option(help="Number of prefixes: the rows of the matrix.")] = 512,
    tokens: Annotated[
        int, typer.Option(help="Number of tokens, drawn from the vocabulary: the columns of the matrix; 0 for all.")
    ] = 1024,
    attribute: Annotated[str | None, typer.Option(help="Attribute of the rewards. Default: the first.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for spectrum.json and spectrum.png. Default: print only.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the prefixes and the tokens.")] = 0,
) -> None:
    """Print the numerical and the effective rank of rewards against the number of prefixes (2407.04615).

    The matrix holds the reward of every token after every prefix. A V-head runs a forward for each cell:
    the default of 512 × 1,024 takes minutes on a CPU.

    Example: trimtab spectrum sentiment sentiment-rad --data sst2.jsonl
    """
    import torch
    from rich.console import Console

    from trimtab.data.tables import read_labelled
    from trimtab.models.loading import load_frozen_lm
    from trimtab.rewards.card import read_card
    from trimtab.rewards.registry import find_reward
    from trimtab.rewards.spectrum import draw_cells
    from trimtab.training.examples import encode_all

    lm = load_frozen_lm(read_card(find_reward(rewards[0])).base, dtype=torch.float32)
    texts = encode_all(lm, [row.text for row in read_labelled(data, [], text_column).rows])
    rows, columns = draw_cells([ids for ids in texts if ids], len(lm.tokenizer), prefixes, tokens or None, seed)
    counts = [count for count in (FEWEST_PREFIXES << i for i in range(20)) if count < prefixes] + [prefixes]
    short = {name: Path(name).name for name in rewards}
    labels = short if len(set(short.values())) == len(short) else {name: name for name in rewards}
    found = {labels[name]: measure_spectra(name, lm, rows, columns, attribute, counts) for name in rewards}
    console = Console()
    console.print(f"ranks of N prefixes × {len(columns)} tokens; hidden size {lm.output_embedding.shape[1]}")
    console.print(rank_table(found))
    if out is not None:
        about = {"data": Path(data).name, "tokens": len(columns), "seed": seed, "attribute": attribute}
        write_spectra(found, about, out)
        console.print(f"wrote spectrum.json and spectrum.png into {out}", highlight=False)


def measure_spectra(
    name: str, lm: "FrozenLM", rows: "list[Any]", columns: "Any", attribute: str | None, counts: list[int]
) -> "list[Spectrum]":
    """Return the spectra of one reward, one per count, with a progress bar."""
    from trimtab.cli.progress import counting
    from trimtab.rewards.registry import load_reward
    from trimtab.rewards.spectrum import reward_matrix, spectra

    with counting(name, error_console()) as progress:
        return spectra(reward_matrix(load_reward(name, lm), rows, columns, attribute, progress), counts)


def rank_table(found: "dict[str, list[Spectrum]]") -> "Table":
    """Return a table of both ranks of every reward, with a row for each number of prefixes."""
    from rich.table import Table

    shown = Table("N", *[f"{name}: {kind}" for name in found for kind in ("numerical", "effective")], box=None)
    for of_count in zip(*found.values(), strict=True):
        ranks = [rank for s in of_count for rank in (f"{s.numerical_rank}", f"{s.effective_rank:.1f}")]
        shown.add_row(f"{of_count[0].prefixes}", *ranks)
    return shown


def write_spectra(found: "dict[str, list[Spectrum]]", about: dict[str, Any], out: Path) -> None:
    """Write the ranks and the singular values as spectrum.json, and a plot of both as spectrum.png."""
    from trimtab.evaluation.report.spectra import plot_spectra

    out.mkdir(parents=True, exist_ok=True)
    ranks = {
        name: [{"prefixes": s.prefixes, "numerical": s.numerical_rank, "effective": s.effective_rank} for s in of_name]
        for name, of_name in found.items()
    }
    values = {name: [float(f"{value:.4g}") for value in of_name[-1].values] for name, of_name in found.items()}
    text = json.dumps({**about, "ranks": ranks, "singular_values": values}, indent=1)
    (out / "spectrum.json").write_text(text + "\n", encoding="utf-8")
    plot_spectra(found, out / "spectrum.png")
