"""`trimtab score`: print the rewards of texts."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.checking import shown
from trimtab.cli.completion import complete_reward
from trimtab.cli.console import first_faults, legible, loading, print_json
from trimtab.cli.options import Method, PrintJson
from trimtab.data.jsonlines import check_input, input_lines
from trimtab.data.tables import check_text
from trimtab.data.visible import count_of
from trimtab.errors import InvalidData, InvalidPrompt, InvalidSetting
from trimtab.steering.notation import parse_reward

if TYPE_CHECKING:
    from trimtab.rewards.reward_model import RewardModel

Candidate = tuple[str, Any, str | None]  # place, text, fault
Usable = tuple[str, str]  # place, text
Encode = Callable[[str], list[int]]


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
    """Print the rewards of texts: unclamped, and calibrated, so that of texts called 0.5 half have the label.

    Example: trimtab score --reward sentiment --text "What a day!" --text "What a mess."
    """
    check_texts(text, source)
    name, columns = check_columns(reward, method)
    faults: list[str] = []
    with loading(f"the reward {reward}"):
        encode = encoder_of(name)
    texts = usable_texts(numbered_texts(text or [], source), encode, faults)
    if source is not None and source.is_file():  # a pipe is read as it comes
        texts = iter(list(texts))
    with loading(f"the reward {reward}"):
        model = load_scorer(reward, method)
    record = provenance_of(model) if as_json else {}
    for place, given in texts:
        row = score_text(model, given, columns, prefixes)
        if all(value != value for value in row["rewards"].values()):
            faults.append(f"{place}: got {shown(given)}, one token, expected two or more for this reward")
        elif as_json:
            print_json(row | {"provenance": record})
        else:
            typer.echo(legible(readable(row)))
    if faults:
        raise skipped(faults)


def check_texts(texts: list[str] | None, source: Path | None) -> None:
    """Refuse what cannot be scored before anything loads.

    Raises:
        InvalidSetting: no text.
        InvalidData: --input is no file.
    """
    if not texts and source is None:
        raise InvalidSetting("got no text, expected --text or --input")
    if source is not None:
        check_input(source)


def check_columns(reward: str, method: str | None) -> tuple[str, tuple[str, ...]]:
    """Return the name of the reward and the attributes that were asked for, from its card alone.

    Raises:
        InvalidSetting, RewardNotFound, UnknownAttribute, CorruptReward: as in `trimtab.rewards.registry`.
    """
    from trimtab.rewards.card import read_card
    from trimtab.rewards.registry import find_reward, name_by_method

    typed, attribute = parse_reward(reward)
    name = name_by_method(typed, method)
    card = read_card(find_reward(name))
    return name, card.attributes if attribute is None else (card.attributes[card.attribute_index(attribute)],)


def encoder_of(reward: str) -> Encode:
    """Return what gives the token ids of a text for a reward, by the tokenizer of its base; no weights are loaded.

    Raises:
        ModelNotFound: there is no such base.
        RewardMismatch: the card does not say where it is.
    """
    from trimtab.models.loading import load_codec
    from trimtab.rewards.card import read_card
    from trimtab.rewards.registry import base_of, find_reward
    from trimtab.rewards.scored_texts import encode_scored

    return partial(encode_scored, read_card(find_reward(reward)), load_codec(base_of(reward)))


def load_scorer(reward: str, method: str | None) -> "RewardModel":
    """Load the reward of NAME[:ATTRIBUTE]. Errors as in `trimtab.rewards.registry.load_by_method`."""
    from trimtab.rewards.registry import load_by_method

    return load_by_method(parse_reward(reward)[0], method, None)


def provenance_of(model: "RewardModel") -> dict[str, Any]:
    """Return what made a score: versions, the base model and the reward with their hashes, and the calibration."""
    from trimtab.engines.provenance import provenance
    from trimtab.engines.torch.engine import TorchEngine

    reward = {**model.describe(), "calibration": model.card.calibration}
    return provenance(TorchEngine(model.base), method="score", reward=reward)


def numbered_texts(texts: list[str], source: Path | None) -> Iterator[Candidate]:
    """Yield the place of every text to score, and the text or its fault."""
    for number, text in enumerate(texts, start=1):
        yield f"text {number}", text, None
    if source is not None:
        for line in input_lines(source):
            fault = line.fault and line.fault.removeprefix(f"line {line.number}: ")
            yield f"line {line.number}", (line.row or {}).get("text"), fault


def usable_texts(candidates: Iterator[Candidate], encode: Encode, faults: list[str]) -> Iterator[Usable]:
    """Return the texts that can be scored, each with its place, read one by one. At least one is there: it is read now.

    Args:
        candidates: as `numbered_texts` yields them.
        encode: as `encoder_of` returns it.
        faults: gets the faults of the others.

    Raises:
        InvalidData: there is none.
    """

    def read() -> Iterator[Usable]:
        for place, text, fault in candidates:
            if fault := fault or fault_of(text, encode):
                faults.append(f"{place}: {fault}")
            else:
                yield place, text

    texts = read()
    for first in texts:
        return chain([first], texts)
    raise skipped(faults) if faults else InvalidData('got --input without a line, expected a text under "text"')


def fault_of(text: Any, encode: Encode) -> str | None:
    """Return what is wrong with a text; None if nothing is."""
    if not isinstance(text, str):
        return f'got {shown(text)}, expected a JSON object with a text under "text"'
    try:
        check_text(text, "text")
        if text:
            encode(text)
    except (ValueError, InvalidPrompt) as error:
        return str(error)
    return None if text else "got an empty text, expected text to score"


def skipped(faults: list[str]) -> InvalidData:
    """Return the error that names the first faults."""
    return InvalidData(f"{count_of(len(faults), 'text')} skipped: {first_faults(faults)}")


def score_text(model: "RewardModel", text: str, columns: tuple[str, ...], prefixes: bool) -> dict[str, Any]:
    """Return the rewards of one text as a JSON object."""
    from trimtab.rewards.shares import shares

    (rewards,) = model.score_prefixes([text])
    indices = [model.attributes.index(column) for column in columns]
    row: dict[str, Any] = {"text": text, "rewards": dict(zip(columns, rewards[-1, indices].tolist(), strict=True))}
    if model.card.calibration:
        row["calibrated"] = dict(zip(columns, shares(rewards[-1], model.card)[indices].tolist(), strict=True))
    if prefixes:
        row["tokens"] = [model.base.codec.token_text(token) for token in model.encode(text)]
        row["prefix_rewards"] = {c: [_number(r) for r in rewards[:, i]] for c, i in zip(columns, indices, strict=True)}
    return row


def readable(row: dict[str, Any]) -> str:
    """Return a row as text: the rewards and the text, then a line for each token if there are prefix rewards."""
    calibrated = {name: f" (calibrated {share:.4f})" for name, share in row.get("calibrated", {}).items()}
    rewards = (f"{legible(name, keep='')}={r:.4f}{calibrated.get(name, '')}" for name, r in row["rewards"].items())
    lines = [f"{' '.join(rewards)}  {row['text']}"]
    for place, token in enumerate(row.get("tokens", [])):
        values = (rewards[place] for rewards in row["prefix_rewards"].values())
        lines.append(
            "  " + " ".join("   none" if value is None else f"{value:7.4f}" for value in values) + f"  {token!r}"
        )
    return "\n".join(lines)


def _number(value: Any) -> float | None:
    """Return a reward as JSON has it: None for NaN."""
    return None if value != value else float(value)
