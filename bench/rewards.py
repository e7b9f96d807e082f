"""Compare rewards: one row per reward with the held-out figures of its card.

python bench/rewards.py rewards/* --out results/rewards.md
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from trimtab.rewards.card import CARD_FILE, RewardCard, read_card
from trimtab.rewards.heads import head_class
from trimtab.rewards.registry import find_reward

HEADS = ("reward", "objective", "head", "trunk", "texts", "accuracy", "AUC", "at half the text", "top1 flip")


def row(name: str, card: RewardCard) -> list[str]:
    """Return a reward's row."""
    quality: dict[str, Any] = card.quality
    made = card.provenance
    first = card.attributes[0]

    def figure(key: str) -> str:
        value = quality.get(f"{key}:{first}")
        return "–" if value is None else f"{value:.3f}"

    half = quality.get(f"accuracy_by_prefix:{first}", {}).get("50%")
    flip = quality.get("top1_flip")
    return [
        name,
        str(made.get("objective", "labels, squared")),
        head_class(card.head).describe(card),
        f"{card.layers} layers, {card.trunk}",
        str(made.get("texts", "")),
        figure("accuracy"),
        figure("auc"),
        "–" if half is None else f"{half:.3f}",
        "–" if flip is None else f"{flip:.3f}",
    ]


def has_card(name: str) -> bool:
    """Whether this is no folder of a run, or of other rewards, as rewards/* has them."""
    return not Path(name).is_dir() or (Path(name) / CARD_FILE).is_file()


def main(
    rewards: Annotated[list[str], typer.Argument(help="Bundled names or folders.")],
    out: Annotated[Path | None, typer.Option(help="The Markdown file to write.")] = None,
) -> None:
    """Print a table of rewards."""
    found = [(Path(name).name, find_reward(name)) for name in rewards if has_card(name)]
    lines = [HEADS, ["---"] * len(HEADS), *(row(name, read_card(folder)) for name, folder in found)]
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"
    typer.echo(text, nl=False)
    if out is not None:
        out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
