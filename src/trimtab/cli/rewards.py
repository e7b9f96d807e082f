"""`trimtab rewards`: what is bundled, and the card of any reward."""

from typing import Annotated

import typer

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
