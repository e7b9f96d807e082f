"""`trimtab rewards`: list the bundled rewards, show the card of a reward, measure a reward."""

from typing import Annotated

import typer

from trimtab.cli.options import RewardName, TextColumn
from trimtab.training.recipe import Recipe

app = typer.Typer(
    no_args_is_help=True, help="List the bundled rewards, show the card of a reward, or measure a reward."
)


@app.command("list")
def list_rewards() -> None:
    """List the bundled rewards with their quality on held-out data."""
    from rich.console import Console
    from rich.table import Table

    from trimtab.rewards.heads import head_kind
    from trimtab.rewards.registry import bundled_rewards

    table = Table("name", "method", "attributes", "base", "layers", "quality", box=None)
    for name, card in bundled_rewards().items():
        quality = " ".join(
            f"{key.split(':')[0]} {value:.3f}"
            for key, value in card.quality.items()
            if isinstance(value, float) and ":" in key
        )
        table.add_row(
            name, head_kind(card.head).method.upper(), ", ".join(card.attributes), card.base, str(card.layers), quality
        )
    Console().print(table)


@app.command()
def show(name: RewardName) -> None:
    """Print the card of a reward: its base, attributes, provenance and measured quality.

    Example: trimtab rewards show sentiment
    """
    from trimtab.rewards.card import read_card
    from trimtab.rewards.registry import find_reward

    typer.echo(read_card(find_reward(name)).to_json(), nl=False)


@app.command()
def measure(
    name: RewardName,
    data: Annotated[
        str,
        typer.Option(
            help="Labelled texts for measuring, not used in training: a .jsonl, .csv or .tsv file, or a Hub id."
        ),
    ],
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="Column with the labels of an attribute, in [0, 1]. Repeat for several. Default: the attributes."
        ),
    ] = None,
    text_column: TextColumn = "text",
    limit: Annotated[int | None, typer.Option(help="Maximum number of rows, from the first. Default: all.")] = None,
    max_tokens: Annotated[
        int, typer.Option(help="Maximum tokens per text; longer texts are cut at the end.")
    ] = Recipe.max_tokens,
    beta: Annotated[
        float, typer.Option(help="Steering strength β at which top1_flip is measured.")
    ] = Recipe.probe_beta,
    write: Annotated[bool, typer.Option("--write", help="Write the quality into the card of the reward.")] = False,
) -> None:
    """Measure a reward on labelled texts, in float32: accuracy, AUC, Spearman, calibration and top1_flip.

    Example: trimtab rewards measure sentiment --data sst2_dev.jsonl --column label
    """
    import json
    from dataclasses import replace
    from pathlib import Path

    from trimtab.data.tables import read_labelled
    from trimtab.rewards.folder import write_card
    from trimtab.rewards.registry import find_reward, load_reward
    from trimtab.training.distributed import evaluating
    from trimtab.training.examples import TokenizedTexts
    from trimtab.training.labels import text_measure

    reward = load_reward(name)
    card = reward.card
    table = read_labelled(data, column or card.attributes, text_column)
    texts = TokenizedTexts(table.rows[:limit], reward.base, max_tokens)
    ask = text_measure(reward.base, card.attributes, texts, beta, card.clamp, differences=not card.baseline)
    with evaluating(reward.network, bf16=False):
        quality = {"measured on": Path(data).name, **ask(reward.network)}
    if write:
        write_card(find_reward(name), replace(card, quality=quality))
    typer.echo(json.dumps(quality, indent=1))
