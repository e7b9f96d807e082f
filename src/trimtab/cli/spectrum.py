"""`trimtab spectrum`: measure the rank of rewards."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.cli.console import error_console, legible, loading, output_console, report_faults
from trimtab.cli.dataclass_options import expands
from trimtab.cli.options import Force, Split, TextColumn
from trimtab.evaluation.run.sweep_settings import PlotOptions

if TYPE_CHECKING:
    from rich.table import Table

    from trimtab.models.codec import TokenizerCodec
    from trimtab.models.frozen_lm import FrozenLM
    from trimtab.rewards.reward_model import RewardModel
    from trimtab.rewards.spectrum import Spectrum

FEWEST_PREFIXES = 16  # ranks are printed for 16, 32, 64 … prefixes


@expands
def spectrum(
    plots: Annotated[PlotOptions, "Plot"],
    rewards: Annotated[list[str], typer.Argument(help="Bundled rewards, folders or Hub ids, all of one base.")],
    data: Annotated[
        str,
        typer.Option(
            help="Texts: a .jsonl, .csv or .tsv file (.gz allowed), or a Hub id. Each gives a prefix of random length."
        ),
    ],
    text_column: TextColumn = "text",
    split: Split = "train",
    prefixes: Annotated[int, typer.Option(help="Number of prefixes: the rows of the matrix.")] = 512,
    tokens: Annotated[
        int, typer.Option(help="Number of tokens, drawn from the vocabulary: the columns of the matrix; 0 for all.")
    ] = 1024,
    attribute: Annotated[str | None, typer.Option(help="Attribute of the rewards. Default: the first.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for spectrum.json and its plot. Default: print only.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the prefixes and the tokens.")] = 0,
    force: Force = False,
) -> None:
    """Print the numerical and the effective rank of rewards against the number of prefixes (2407.04615).

    The matrix holds the reward of every token after every prefix. A V-head runs a forward for each cell:
    the default of 512 × 1,024 takes minutes on a CPU.

    Example: trimtab spectrum sentiment sentiment-rad --data sst2.jsonl
    """
    check_target(out, plots, force)
    texts, codec = check_spectrum(rewards, data, text_column, split, prefixes, tokens, attribute, seed)

    from trimtab.rewards.spectrum import draw_cells
    from trimtab.training.examples import encode_all

    room = codec.context_length - 2  # for BOS, and a candidate
    ids = [of_text[:room] for of_text in encode_all(codec, texts) if of_text]
    lm = load_base(rewards[0], codec)
    known = min(len(codec.tokenizer), lm.vocabulary_size)  # either may have more
    rows, columns = draw_cells(ids, known, prefixes, tokens or None, seed)
    loaded = load_rewards(rewards, lm)
    found = {
        label: measure_spectra(label, reward, rows, columns, attribute, counts_up_to(prefixes))
        for label, reward in loaded.items()
    }
    console = output_console()
    console.print(f"ranks of N prefixes × {len(columns)} tokens; hidden size {lm.output_embedding.shape[1]}")
    console.print(rank_table(found))
    if out is not None:
        about = {"data": Path(data).name, "tokens": len(columns), "seed": seed, "attribute": attribute}
        made_by = origin(lm, loaded, Path(data), text_column)
        files = write_spectra(found, {**about, "made_by": made_by}, out, plots)
        console.print(legible(f"wrote {', '.join(files)} into {out}", keep=""), highlight=False, markup=False)


def check_spectrum(
    rewards: list[str],
    data: str,
    text_column: str,
    split: str,
    prefixes: int,
    tokens: int,
    attribute: str | None,
    seed: int,
) -> "tuple[list[str], TokenizerCodec]":
    """Check numbers, rewards and data without weights; returns the texts and the base's tokenizer.

    Raises:
        TrimtabError: something is wrong.
    """
    from trimtab.data.tables import read_labelled
    from trimtab.errors import InvalidSetting, RewardMismatch
    from trimtab.evaluation.checks import check_at_least, check_different
    from trimtab.rewards.card import read_card
    from trimtab.rewards.registry import find_reward

    check_at_least(1, prefixes=prefixes)
    check_at_least(0, tokens=tokens, seed=seed)
    check_different("reward", rewards)
    cards = {name: read_card(find_reward(name)) for name in rewards}
    for name, card in cards.items():
        card.attribute_index(attribute)
        if card.base_fingerprint != cards[rewards[0]].base_fingerprint:
            raise RewardMismatch(f"got {rewards[0]!r} and {name!r} of different bases, expected rewards of one base")
    table = read_labelled(data, [], text_column, split)
    report_faults(data, table.faults)
    texts = [row.text for row in table.rows]
    if prefixes > len(texts):
        raise InvalidSetting(f"got {prefixes} prefixes, expected 1 to {len(texts)}, one for each text")

    from trimtab.models.loading import load_codec
    from trimtab.rewards.registry import base_of

    codec = load_codec(base_of(rewards[0]))
    if tokens > (size := len(codec.tokenizer)):
        raise InvalidSetting(f"got {tokens} tokens, expected at most the vocabulary's {size}")
    return texts, codec


def check_target(out: Path | None, plots: PlotOptions, force: bool) -> None:
    """Check that the record and the plot can be written, and replace nothing of another origin; None is no folder.

    Raises:
        InvalidOutput: they cannot.
        InvalidSetting: there is no folder, and a format or a title.
    """
    from trimtab.data.outputs import check_folder
    from trimtab.errors import InvalidData, InvalidSetting
    from trimtab.evaluation.checks import check_files
    from trimtab.evaluation.report.figure import check_matplotlib
    from trimtab.evaluation.report.spectra import SPECTRUM_FILE, read_spectrum

    if out is None:
        if plots != PlotOptions():
            raise InvalidSetting(f"got {'--format' if plots.format else '--title'}, expected --out with it")
        return
    check_matplotlib()
    check_folder(out, "--out")
    try:
        ours = bool(read_spectrum(out))
    except (InvalidData, OSError):
        ours = False
    check_files(out, [SPECTRUM_FILE, *(f"spectrum.{kind}" for kind in plots.formats)], "--out", force or ours)


def counts_up_to(prefixes: int) -> list[int]:
    """Return 16, 32, 64 … below the number of prefixes, and that number."""
    return [count for count in (FEWEST_PREFIXES << i for i in range(20)) if count < prefixes] + [prefixes]


def load_base(reward: str, codec: "TokenizerCodec") -> "FrozenLM":
    """Load the base of a reward, whose tokenizer is loaded, in float32."""
    from trimtab.rewards.registry import base_of

    base = base_of(reward)
    with loading(base):
        import torch

        from trimtab.models.loading import load_frozen_lm

        return load_frozen_lm(base, dtype=torch.float32, codec=codec)


def load_rewards(names: list[str], lm: "FrozenLM") -> "dict[str, RewardModel]":
    """Load rewards; they are named by the last part of their paths if that names each of them."""
    from trimtab.rewards.registry import load_reward

    short = {name: Path(name).name for name in names}
    labels = short if len(set(short.values())) == len(short) else {name: name for name in names}
    with loading("rewards"):
        return {labels[name]: load_reward(name, lm) for name in names}


def measure_spectra(
    name: str,
    reward: "RewardModel",
    rows: "list[Any]",
    columns: "Any",
    attribute: str | None,
    counts: list[int],
) -> "list[Spectrum]":
    """Return the spectra of one reward, one per count, with a progress bar."""
    from rich.markup import escape

    from trimtab.cli.progress import counting
    from trimtab.rewards.spectrum import reward_matrix, spectra

    with counting(escape(legible(name)), error_console()) as progress:
        return spectra(reward_matrix(reward, rows, columns, attribute, progress), counts)


def rank_table(found: "dict[str, list[Spectrum]]") -> "Table":
    """Return a table of both ranks of every reward, with a row for each number of prefixes."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table(
        "N", *[legible(f"{escape(name)}: {kind}") for name in found for kind in ("numerical", "effective")], box=None
    )
    for of_count in zip(*found.values(), strict=True):
        ranks = [rank for s in of_count for rank in (f"{s.numerical_rank}", f"{s.effective_rank:.1f}")]
        shown.add_row(f"{of_count[0].prefixes}", *ranks)
    return shown


def origin(lm: "FrozenLM", rewards: "dict[str, RewardModel]", data: Path, text_column: str) -> dict[str, Any]:
    """Return what made the spectra: versions, base, rewards and data."""
    from trimtab.data.tables import hash_of_file
    from trimtab.versions import versions

    return {
        **versions(),
        "base": lm.name,
        "base_fingerprint": lm.base_fingerprint,
        "dtype": str(lm.model.dtype).removeprefix("torch."),
        "device": str(lm.device),
        "rewards": {name: reward.describe() for name, reward in rewards.items()},
        "data_sha256": hash_of_file(data),
        "text_column": text_column,
    }


def write_spectra(
    found: "dict[str, list[Spectrum]]", about: dict[str, Any], out: Path, plots: PlotOptions
) -> list[str]:
    """Write the ranks and the singular values as spectrum.json, and plot both; returns the names of the files."""
    from trimtab.data.json_text import dump_json
    from trimtab.evaluation.checks import write_in
    from trimtab.evaluation.report.spectra import SPECTRUM_FILE, plot_spectra

    ranks = {
        name: [{"prefixes": s.prefixes, "numerical": s.numerical_rank, "effective": s.effective_rank} for s in of_name]
        for name, of_name in found.items()
    }
    values = {name: [float(f"{value:.4g}") for value in of_name[-1].values] for name, of_name in found.items()}
    record = {**about, "ranks": ranks, "singular_values": values}
    picture = plot_spectra(record, out, plots.formats, plots.title)
    write_in(out, SPECTRUM_FILE, dump_json({**record, "caption": picture.caption}, indent=1) + "\n")
    return [SPECTRUM_FILE, *(file.name for file in picture.files)]
