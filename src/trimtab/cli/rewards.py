"""`trimtab rewards`: what is bundled, and the card of any reward."""

from typing import Annotated

import typer

from trimtab.training.recipe import Recipe

app = typer.Typer(no_args_is_help=True, help="List the bundled rewards, or show a reward's card.")


@app.command("list")
def list_rewards() -> None:
    """List the bundled rewards with what they measured on held-out data."""
    from rich.console import Console
    from rich.table import Table

    from trimtab.rewards.catalogue import bundled_rewards

    table = Table("name", "method", "attributes", "base", "layers", "quality", box=None)
    for name, card in bundled_rewards().items():
        quality = " ".join(
            f"{key.split(':')[0]} {value:.3f}"
            for key, value in card.quality.items()
            if isinstance(value, float) and ":" in key
        )
        method = "ARM" if card.head == "q" else "RAD"
        table.add_row(name, method, ", ".join(card.attributes), card.base, str(card.layers), quality)
    Console().print(table)


@app.command()
def show(name: Annotated[str, typer.Argument(help="A bundled name, a folder or a Hub id.")]) -> None:
    """Print a reward's card: what it is, what it belongs to, how it was made, what it measured."""
    from trimtab.rewards.card import read_card
    from trimtab.rewards.catalogue import find_reward

    typer.echo(read_card(find_reward(name)).to_json(), nl=False)


@app.command()
def measure(
    name: Annotated[str, typer.Argument(help="A bundled name, a folder or a Hub id.")],
    data: Annotated[str, typer.Option(help="A table of texts that the reward was not trained on.")],
    column: Annotated[list[str] | None, typer.Option(help="The label columns. Default: the attributes.")] = None,
    text_column: Annotated[str, typer.Option(help="The column of the text.")] = "text",
    limit: Annotated[int | None, typer.Option(help="Measure on the first so many rows.")] = None,
    max_tokens: Annotated[int, typer.Option(help="Longer texts lose their end.")] = Recipe.max_tokens,
    beta: Annotated[float, typer.Option(help="The β at which top1_flip is measured.")] = Recipe.probe_beta,
    write: Annotated[bool, typer.Option("--write", help="Put the figures into the reward's card.")] = False,
) -> None:
    """Measure a reward on labelled texts, in float32: accuracy, AUC, Spearman, by prefix, calibration, top1_flip.

    Example: trimtab rewards measure sentiment --data sst2_dev.jsonl --column label
    """
    import json
    from dataclasses import replace
    from pathlib import Path

    from trimtab.rewards.catalogue import find_reward
    from trimtab.rewards.folder import write_card
    from trimtab.rewards.shelf import load_reward
    from trimtab.training.compute import evaluating
    from trimtab.training.data import TokenizedTexts, read_labelled
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
