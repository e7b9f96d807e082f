"""`trimtab rewards`: list the bundled rewards, show the card of a reward, measure a reward."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.cli.completion import complete_model
from trimtab.cli.console import error_console, legible, loading, output_console, print_json, report_faults
from trimtab.cli.options import PrintJson, RewardName, Split, TextColumn
from trimtab.cli.train_options import LabelRange
from trimtab.data.files import shown_path
from trimtab.errors import InvalidOutput, InvalidSetting
from trimtab.training.recipe import Recipe

if TYPE_CHECKING:
    from rich.text import Text

    from trimtab.rewards.card import RewardCard
    from trimtab.rewards.model_card import Figures


LISTED = ("accuracy", "auc")  # figures on held-out labels
TRAINED_ON = "measured on the training data: the figures say nothing about other texts"
LabelColumns = Annotated[
    list[str] | None,
    typer.Option(
        "--column", help="Column with the labels of an attribute. Repeat for several. Default: the attributes."
    ),
]
MaxTokens = Annotated[int, typer.Option(help="Maximum tokens per text; longer texts are cut at the end.")]

app = typer.Typer(
    no_args_is_help=True, help="List the bundled rewards, show the card of a reward, or measure a reward."
)


@app.command("list")
def list_rewards(
    model: Annotated[
        str | None,
        typer.Option(
            help="Say what steers this model: smollm2, a folder, a .gguf file or a Hub id. No weights are loaded.",
            autocompletion=complete_model,
        ),
    ] = None,
) -> None:
    """List the bundled rewards with what they serve and their quality on held-out data.

    With --model: what is ready for that model, what can be adapted to it, and what runs at once, each with its command.
    Rewards in the folder ./rewards, where trimtab adapt writes, are listed, too.

    Example: trimtab rewards list --model Qwen/Qwen3-0.6B
    """
    if model is not None:
        print_offers(model)
        return
    from trimtab.cli.reward_offers import NOTE, served_by
    from trimtab.rewards.heads import head_kind
    from trimtab.rewards.registry import bundled_rewards

    rows = []
    for name, card in bundled_rewards().items():
        method = head_kind(card.head).method.upper()
        for attribute in card.attributes:
            figures = [_shown_figure(card.quality.get(f"{figure}:{attribute}")) for figure in LISTED]
            rows.append([name, method, attribute, served_by(card), *figures])
    print_table(["name", "method", "attribute", "serves its", *LISTED], rows)
    error_console().print(NOTE, markup=False, highlight=False)


def _shown_figure(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else ""


def print_offers(model: str) -> None:
    """Print what steers a model, from its tokenizer and the rewards' cards."""
    with loading(model):
        from trimtab.cli.reward_offers import offers_for
        from trimtab.models.loading import check_steerable, load_codec

        codec = load_codec(model)
        check_steerable(model)
        offers = offers_for(model, codec)
    for state in dict.fromkeys(offer.state for offer in offers):
        typer.echo(f"{state}:")
        for offer in offers:
            if offer.state == state:
                typer.echo(f"  {offer.command}")


@app.command()
def show(name: RewardName, as_json: PrintJson = False) -> None:
    """Print the card of a reward: its base, attributes, hashes, provenance and measured quality.

    A reward whose weights have another hash than its card says is refused.

    Example: trimtab rewards show sentiment
    """
    from trimtab.rewards.card import read_card
    from trimtab.rewards.registry import find_reward

    folder = find_reward(name)
    card = read_card(folder)
    card.check_file(folder)
    if as_json:
        print_json(card.as_dict())
        return
    from trimtab.rewards.model_card import card_figures, headline

    typer.echo(f"{legible(name, keep='')}: {legible(headline(card), keep='').replace('`', '')}")
    print_figures(card_figures(card))


@app.command()
def measure(
    name: RewardName,
    data: Annotated[
        str,
        typer.Option(
            help="Labelled texts for measuring, not used in training: a .jsonl, .csv or .tsv file, or a Hub id."
        ),
    ],
    column: LabelColumns = None,
    attribute: Annotated[
        list[str] | None, typer.Option(help="Attribute to measure. Repeat for several. Default: all.")
    ] = None,
    label_range: LabelRange = None,
    text_column: TextColumn = "text",
    split: Split = "train",
    limit: Annotated[int | None, typer.Option(help="Maximum number of rows, from the first. Default: all.")] = None,
    max_tokens: MaxTokens = Recipe.max_tokens,
    beta: Annotated[
        float, typer.Option(help="Steering strength β at which top1_flip is measured.")
    ] = Recipe.probe_beta,
    write: Annotated[
        bool, typer.Option("--write", help="Write the quality into the card of the reward, which is a folder of yours.")
    ] = False,
    as_json: PrintJson = False,
) -> None:
    """Measure a reward on labelled texts, in float32: accuracy, AUC, Spearman, calibration and top1_flip.

    Example: trimtab rewards measure sentiment --data sst2_dev.jsonl --column label
    """
    check_numbers(limit, max_tokens, beta)
    from trimtab.data.jsonlines import is_file
    from trimtab.data.label_values import check_label_range
    from trimtab.data.tables import read_labelled
    from trimtab.rewards.card import read_card
    from trimtab.rewards.registry import find_reward

    check_label_range(label_range)
    folder = find_reward(name)
    card = read_card(folder)
    attributes = check_attributes(card, attribute)
    columns = check_columns(attributes, column)
    if write:
        check_writable(name, folder)
    table = read_labelled(data, columns, text_column, split, label_range)
    report_faults(data, table.faults)
    with loading(f"the reward {name}"):
        from dataclasses import replace

        import torch

        from trimtab.models.loading import load_frozen_lm
        from trimtab.rewards.folder import write_card
        from trimtab.rewards.registry import base_of, load_reward
        from trimtab.training.distributed import evaluating
        from trimtab.training.examples import TokenizedTexts
        from trimtab.training.labels import text_measure

        reward = load_reward(name, load_frozen_lm(base_of(name), dtype=torch.float32))
    texts = TokenizedTexts(table.rows[:limit], reward.base, max_tokens)
    places = tuple(map(card.attributes.index, attributes))
    ask = text_measure(reward.base, attributes, texts, beta, card.clamp, not card.baseline, places)
    with evaluating(reward.network, bf16=False):
        asked: dict[str, object] = {"beta": beta, "max_tokens": max_tokens, "limit": limit}
        if not is_file(Path(data)):
            asked["split"] = split
        facts = {"measured on": Path(data).name, "measured_sha256": table.sha256, "measured_with": asked}
        quality = {**facts, **ask(reward.network)}
    if table.sha256 == card.provenance.get("data_sha256"):
        quality["warning"] = "; ".join([*filter(None, [quality.get("warning")]), TRAINED_ON])
    if write:
        write_card(folder, replace(card, quality=kept_quality(card, quality, attributes)))
    print_quality(quality, as_json)


def check_numbers(limit: int | None, max_tokens: int, beta: float) -> None:
    """Refuse numbers out of range.

    Raises:
        InvalidSetting: naming the option.
    """
    if limit is not None and limit < 1:
        raise InvalidSetting(f"got --limit {limit}, expected at least 1")
    if max_tokens < 1:
        raise InvalidSetting(f"got --max-tokens {max_tokens}, expected at least 1")
    if not math.isfinite(beta):
        raise InvalidSetting(f"got --beta {beta}, expected a finite number")


def check_attributes(card: "RewardCard", attributes: list[str] | None) -> tuple[str, ...]:
    """Return the attributes to measure.

    Raises:
        InvalidSetting: the reward lacks one, or one is named twice.
    """
    for number, name in enumerate(attributes or []):
        if name not in card.attributes or name in (attributes or [])[:number]:
            names = legible(", ".join(card.attributes), keep="")
            raise InvalidSetting(f"got --attribute {legible(name, keep='')}, expected each once, of: {names}")
    return tuple(attributes or card.attributes)


def check_columns(attributes: Sequence[str], columns: list[str] | None) -> Sequence[str]:
    """Return the label columns, one for each attribute.

    Raises:
        InvalidSetting: there are more or fewer than attributes.
    """
    if columns and len(columns) != len(attributes):
        names = legible(", ".join(attributes), keep="")
        raise InvalidSetting(f"got {len(columns)} --column, expected {len(attributes)}, for: {names}")
    return columns or attributes


def of_attributes(quality: dict[str, object], attributes: Sequence[str]) -> dict[str, object]:
    """Quality of some attributes, to stand in a card beside that of the others."""
    named = ("measured on", "measured_sha256", "measured_with", "texts")
    about = {f"{name}:{attribute}": quality[name] for attribute in attributes for name in named}
    if "warning" in quality:
        about |= {f"warning:{attribute}": quality["warning"] for attribute in attributes}
    return about | {name: value for name, value in quality.items() if ":" in name}


def kept_quality(card: "RewardCard", measured: dict[str, object], attributes: Sequence[str]) -> dict[str, object]:
    """The quality of a card after some attributes were measured; what is not measured here stays."""
    from trimtab.rewards.card import AGREEMENT, SOURCES

    if attributes != card.attributes:
        stale = tuple(f":{attribute}" for attribute in attributes)
        kept = {
            name: value
            for name, value in card.quality.items()
            if name.startswith((AGREEMENT, SOURCES)) or not name.endswith(stale)
        }
        return kept | of_attributes(measured, attributes)
    return {name: value for name, value in card.quality.items() if name.startswith((AGREEMENT, SOURCES))} | measured


def check_writable(name: str, folder: Path) -> None:
    """Refuse to write into the card of a reward that belongs to the package or to the Hub's cache.

    Raises:
        InvalidOutput: the reward was found by a bundled name or a Hub id, or its card cannot be written.
    """
    from trimtab.data.outputs import check_output
    from trimtab.rewards.card import CARD_FILE
    from trimtab.rewards.registry import BUNDLED

    if folder != Path(name) or folder.resolve().is_relative_to(BUNDLED.resolve()):
        raise InvalidOutput(
            f"got --write for {shown_path(name)}, expected a folder of yours: copy {shown_path(folder)}, and measure "
            "the copy"
        )
    check_output(folder / CARD_FILE, "--write", replace=True)


def print_quality(quality: dict[str, object], as_json: bool) -> None:
    """Print measured quality on stdout, and its warning on stderr."""
    from rich.text import Text

    from trimtab.rewards.model_card import quality_figures

    if as_json:
        print_json(quality)
    else:
        print_figures(quality_figures(quality))
    if warning := quality.get("warning"):
        error_console().print(Text(f"warning: {legible(str(warning), keep='')}", "yellow"), soft_wrap=True)


def print_table(heads: list[str], rows: list[list[str]]) -> None:
    """Print rows under heads on stdout."""
    from rich.table import Table

    table = Table(*heads, box=None)
    for row in rows:
        table.add_row(*map(_text, row))
    output_console().print(table)


def print_figures(tables: "Sequence[Figures]") -> None:
    """Print tables of a card. Characters that a terminal acts on are named."""
    from rich.table import Column, Table
    from rich.text import Text

    console = output_console()
    for figures in tables:
        table = Table(*(Column(_text(head)) for head in figures.heads), box=None, show_header=bool(figures.heads))
        for row in figures.rows:
            table.add_row(*map(_text, row))
        console.print(Text(f"\n{legible(figures.title, keep='')}", "bold"))
        console.print(table)


def _text(cell: str) -> "Text":
    from rich.text import Text

    return Text(legible(cell, keep=""), overflow="fold")
