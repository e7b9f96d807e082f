"""`trimtab score`: print the rewards of texts."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.cli.options import Method, PrintJson
from trimtab.data.jsonlines import read_lines
from trimtab.errors import InvalidData, InvalidPrompt, InvalidSetting
from trimtab.rewards.registry import load_by_method
from trimtab.steering.notation import parse_reward

if TYPE_CHECKING:
    from trimtab.rewards.reward_model import RewardModel


def score(
    reward: Annotated[
        str, typer.Option(metavar="NAME[:ATTRIBUTE]", help="Reward to apply: a bundled reward, a folder or a Hub id.")
    ],
    text: Annotated[list[str] | None, typer.Option(help="Text to score. Repeat for several.")] = None,
    source: Annotated[
        Path | None, typer.Option("--input", help='Score the texts of this file: JSON lines with "text".')
    ] = None,
    prefixes: Annotated[
        bool, typer.Option("--prefixes", help="Also print the reward of every prefix, token by token.")
    ] = False,
    method: Method = None,
    as_json: PrintJson = False,
) -> None:
    """Print the rewards of texts, unclamped.

    Example: trimtab score --reward sentiment --text "What a day!" --text "What a mess."
    """
    if not text and source is None:
        raise InvalidSetting("got no text, expected --text or --input")
    name, attribute = parse_reward(reward)
    model = load_by_method(name, method, None)
    columns = model.attributes if attribute is None else (model.attributes[model.card.attribute_index(attribute)],)
    faults = []
    for number, given in numbered_texts(text or [], source):
        try:
            row = score_text(model, given, columns, prefixes)
        except (InvalidPrompt, InvalidData) as error:
            faults.append(f"{number}: {error}")
            continue
        typer.echo(json.dumps(row, ensure_ascii=False) if as_json else readable(row))
    if faults:
        raise InvalidData(f"{len(faults)} texts skipped: " + "; ".join(faults))


def numbered_texts(texts: list[str], source: Path | None) -> "list[tuple[str, Any]]":
    """Return a place and a text for every text to score; a bad line has None as its text."""
    given: list[tuple[str, Any]] = [(f"text {number}", text) for number, text in enumerate(texts, start=1)]
    if source is not None:
        given += [(f"line {line.number}", (line.row or {}).get("text")) for line in read_lines(source)]
    return given


def score_text(model: "RewardModel", text: Any, columns: tuple[str, ...], prefixes: bool) -> dict[str, Any]:
    """Return the rewards of one text as a JSON object.

    Raises:
        InvalidData: `text` is not a string.
    """
    if not isinstance(text, str):
        raise InvalidData('expected a JSON object with a text under "text"')
    (rewards,) = model.score_prefixes([text])
    indices = [model.attributes.index(column) for column in columns]
    row: dict[str, Any] = {"text": text, "rewards": dict(zip(columns, rewards[-1, indices].tolist(), strict=True))}
    if prefixes:
        row["tokens"] = [model.base.codec.token_text(token) for token in model.encode(text)]
        row["prefix_rewards"] = {c: [_number(r) for r in rewards[:, i]] for c, i in zip(columns, indices, strict=True)}
    return row


def readable(row: dict[str, Any]) -> str:
    """Return a row as text: the rewards and the text, then a line for each token if there are prefix rewards."""
    summary = " ".join(f"{name}={value:.4f}" for name, value in row["rewards"].items())
    lines = [f"{summary}  {row['text']}"]
    for place, token in enumerate(row.get("tokens", [])):
        values = (rewards[place] for rewards in row["prefix_rewards"].values())
        lines.append(
            "  " + " ".join("   none" if value is None else f"{value:7.4f}" for value in values) + f"  {token!r}"
        )
    return "\n".join(lines)


def _number(value: Any) -> float | None:
    """Return a reward as JSON has it: None for NaN."""
    return None if value != value else float(value)
