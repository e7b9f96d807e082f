"""`trimtab score`: print the rewards of texts."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.cli.completion import complete_reward
from trimtab.cli.console import legible, loading, print_json
from trimtab.cli.options import Method, PrintJson
from trimtab.errors import InvalidData, InvalidPrompt, InvalidSetting
from trimtab.rewards.heads import head_of_method
from trimtab.steering.notation import parse_reward

if TYPE_CHECKING:
    from trimtab.rewards.reward_model import RewardModel

SHOWN_FAULTS = 5


def score(
    reward: Annotated[
        str,
        typer.Option(
            metavar="NAME[:ATTRIBUTE]",
            help="Reward to apply: a bundled reward, a folder or a Hub id.",
            autocompletion=complete_reward,
        ),
    ],
    text: Annotated[list[str] | None, typer.Option(help="Text to score. Repeat for several.")] = None,
    source: Annotated[
        Path | None,
        typer.Option("--input", help='Score the texts of this file, or of - (standard input): JSON lines with "text".'),
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
    check_texts(text, source)
    if method is not None:
        head_of_method(method)
    with loading(f"the reward {reward}"):
        model, columns = load_columns(reward, method)
    record = provenance_of(model) if as_json else {}
    faults = []
    for place, given in numbered_texts(text or [], source):
        try:
            row = score_text(model, given, columns, prefixes)
        except (InvalidPrompt, InvalidData) as error:
            faults.append(f"{place}: {error}")
            continue
        if as_json:
            print_json(row | {"provenance": record})
        else:
            typer.echo(legible(readable(row)))
    if faults:
        named = "; ".join(faults[:SHOWN_FAULTS]) + ("; …" if len(faults) > SHOWN_FAULTS else "")
        raise InvalidData(f"{len(faults)} texts skipped: {named}")


def check_texts(texts: list[str] | None, source: Path | None) -> None:
    """Refuse what cannot be scored before anything loads.

    Raises:
        InvalidSetting: no text.
        InvalidData: --input is no file.
    """
    from trimtab.data.jsonlines import is_file
    from trimtab.jobs.prompts import STANDARD_STREAM

    if not texts and source is None:
        raise InvalidSetting("got no text, expected --text or --input")
    if source is not None and str(source) != STANDARD_STREAM and not is_file(source, or_pipe=True):
        raise InvalidData(f"got --input {str(source)!r}, expected a JSON-lines file; there is no such file")


def load_columns(reward: str, method: str | None) -> "tuple[RewardModel, tuple[str, ...]]":
    """Load a reward and return it with the attributes that were asked for; its card is checked before its weights.

    Raises:
        InvalidSetting, RewardNotFound, UnknownAttribute, CorruptReward: as in `trimtab.rewards.registry`.
    """
    from trimtab.rewards.card import read_card
    from trimtab.rewards.registry import find_reward, load_by_method, name_by_method

    name, attribute = parse_reward(reward)
    card = read_card(find_reward(name_by_method(name, method)))
    columns = card.attributes if attribute is None else (card.attributes[card.attribute_index(attribute)],)
    return load_by_method(name, method, None), columns


def provenance_of(model: "RewardModel") -> dict[str, Any]:
    """Return what made a score: versions, the base model and the reward with their fingerprints, dtype and device."""
    from trimtab.engines.provenance import provenance
    from trimtab.engines.torch.engine import TorchEngine

    return provenance(TorchEngine(model.base), method="score", reward=model.describe())


def numbered_texts(texts: list[str], source: Path | None) -> Iterator[tuple[str, Any]]:
    """Yield a place and a text for every text to score; a bad line raises when it is scored."""
    for number, text in enumerate(texts, start=1):
        yield f"text {number}", text
    if source is not None:
        from trimtab.jobs.prompts import input_lines

        for line in input_lines(source):
            yield f"line {line.number}", (line.row or {}).get("text")


def score_text(model: "RewardModel", text: Any, columns: tuple[str, ...], prefixes: bool) -> dict[str, Any]:
    """Return the rewards of one text as a JSON object.

    Raises:
        InvalidData: `text` is not a string.
        InvalidPrompt: it is empty, or longer than the reward's context.
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
    summary = " ".join(f"{legible(name, keep='')}={value:.4f}" for name, value in row["rewards"].items())
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
