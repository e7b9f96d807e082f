"""Texts for training: labelled ones and pairs, read, checked, counted and tokenized."""

import hashlib
import json
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, final

from torch.utils.data import Dataset

from trimtab.errors import InvalidData, InvalidSetting
from trimtab.frozen.lm import FrozenLM
from trimtab.training.records import read_records


@dataclass(frozen=True)
class LabelledText:
    """A text and its label for each attribute, each in [0, 1]; no labels where a teacher gives the rewards."""

    text: str
    labels: tuple[float, ...] = ()


@dataclass(frozen=True)
class TextPair:
    """Two texts, the first preferred."""

    chosen: str
    rejected: str


Row = TypeVar("Row")


@dataclass
class Table(Generic[Row]):
    """Good rows, and what was wrong with the others.

    Attributes:
        rows: the good rows.
        faults: "line N: what is wrong", one per bad row.
    """

    rows: list[Row] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def read_labelled(
    source: str, columns: Sequence[str], text_column: str = "text", split: str = "train"
) -> Table[LabelledText]:
    """Read texts with one label column per attribute.

    Args:
        source, split: as in `read_records`.
        columns: the label columns, one per attribute, numbers in [0, 1]; none for texts alone.
        text_column: the column of the text.

    Raises:
        InvalidData: no such table, or not one good row in it.
    """

    def parse(row: dict[str, Any]) -> LabelledText:
        return LabelledText(text_of(row, text_column), tuple(_label(row, column) for column in columns))

    return read_table(source, split, parse)


def read_pairs(
    source: str, chosen_column: str = "chosen", rejected_column: str = "rejected", split: str = "train"
) -> Table[TextPair]:
    """Read pairs of texts, one preferred. Arguments and errors as in `read_labelled`."""

    def parse(row: dict[str, Any]) -> TextPair:
        pair = TextPair(text_of(row, chosen_column), text_of(row, rejected_column))
        if pair.chosen == pair.rejected:
            raise ValueError("got the same text twice, expected two")
        return pair

    return read_table(source, split, parse)


def read_table(source: str, split: str, parse: Callable[[dict[str, Any]], Row]) -> Table[Row]:
    """Read rows of any kind.

    Args:
        source, split: as in `read_records`.
        parse: makes one of a record's columns; a KeyError, ValueError or TypeError becomes a fault.

    Raises:
        InvalidData: no such table, or not one good row in it.
    """
    table: Table[Row] = Table()
    for record in read_records(source, split):
        if record.row is None:
            table.faults.append(str(record.fault))
            continue
        try:
            table.rows.append(parse(record.row))
        except KeyError as error:
            columns = ", ".join(map(repr, record.row))
            table.faults.append(f"{record.place}: no column {error}, its columns are {columns}")
        except (ValueError, TypeError) as error:
            table.faults.append(f"{record.place}: {error}")
    if not table.rows:
        raise InvalidData(f"{source!r} has no usable row; first fault: {(table.faults or ['it is empty'])[0]}")
    return table


def column_of(row: dict[str, Any], column: str) -> Any:
    """What is in a column; `prompt.text` is the field `text` of the column `prompt`, as sets on the Hub have them."""
    if column in row or "." not in column:
        return row[column]
    outer, _, inner = column.partition(".")
    return column_of(row[outer], inner)


def text_of(row: dict[str, Any], column: str) -> str:
    """The text in a column; a KeyError or ValueError where there is none."""
    text = column_of(row, column)
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"got {column}={text!r}, expected text")
    return text


def _label(row: dict[str, Any], column: str) -> float:
    try:
        label = float(column_of(row, column))
    except (TypeError, ValueError):
        label = float("nan")
    if not 0 <= label <= 1:
        raise ValueError(f"got {column}={column_of(row, column)!r}, expected a number in [0, 1]")
    return label


def select_rows(rows: Sequence[Row], limit: int | None, seed: int) -> list[Row]:
    """Shuffle, and cut to a number of rows.

    Raises:
        InvalidSetting: a limit below 1.
    """
    if limit is not None and limit < 1:
        raise InvalidSetting(f"got limit={limit}, expected at least 1")
    return random.Random(seed).sample(list(rows), len(rows))[:limit]


def select_balanced(rows: Sequence[LabelledText], limit: int | None, seed: int) -> list[LabelledText]:
    """Shuffle, and keep as many rows above ½ in the first attribute as below.

    Raises:
        InvalidData: rows of one class only.
        InvalidSetting: a limit below 2.
    """
    if limit is not None and limit < 2:
        raise InvalidSetting(f"got limit={limit}, expected at least 2 to balance")
    shuffled = select_rows(rows, None, seed)
    high = [row for row in shuffled if row.labels[0] >= 0.5]
    low = [row for row in shuffled if row.labels[0] < 0.5]
    each = min(len(high), len(low), (limit or len(rows)) // 2)
    if not each:
        raise InvalidData(f"got {len(high)} rows above 0.5 and {len(low)} below, expected some of each to balance")
    return [row for pair in zip(high[:each], low[:each], strict=True) for row in pair]


class Examples(Dataset[dict[str, Any]], ABC):
    """Tokenized data that knows its size and its hash."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """A hash of the examples and their order."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> dict[str, Any]: ...


@final
class TokenizedTexts(Examples):
    """Token ids, labels and lengths, cut to a maximum length.

    Args:
        rows: labelled texts.
        lm: whose tokenizer to use.
        max_tokens: longer texts lose their end.

    Raises:
        InvalidData: not one text that has a token.
    """

    def __init__(self, rows: Sequence[LabelledText], lm: FrozenLM, max_tokens: int):
        encoded = encode_all(lm, [row.text for row in rows])
        self.truncated = sum(len(ids) > max_tokens for ids in encoded)
        self.examples: list[dict[str, Any]] = [
            {"input_ids": ids[:max_tokens], "labels": row.labels, "length": min(len(ids), max_tokens)}
            for ids, row in zip(encoded, rows, strict=True)
            if ids
        ]
        _require(self.examples)

    @property
    def digest(self) -> str:
        """A hash of the examples and their order."""
        return digest_of(self.examples)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.examples[index]


@final
class TokenizedPairs(Examples):
    """Token ids of both texts of each pair, each cut to a maximum length; as `TokenizedTexts` otherwise."""

    def __init__(self, rows: Sequence[TextPair], lm: FrozenLM, max_tokens: int):
        chosen = encode_all(lm, [row.chosen for row in rows])
        rejected = encode_all(lm, [row.rejected for row in rows])
        self.truncated = sum(len(ids) > max_tokens for ids in chosen + rejected)
        self.examples: list[dict[str, Any]] = [
            {"chosen": c[:max_tokens], "rejected": r[:max_tokens], "length": min(max(len(c), len(r)), max_tokens)}
            for c, r in zip(chosen, rejected, strict=True)
            if c and r
        ]
        _require(self.examples)

    @property
    def digest(self) -> str:
        """A hash of the examples and their order."""
        return digest_of(self.examples)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.examples[index]


def digest_of(examples: Sequence[object]) -> str:
    """A hash of what JSON can hold, in its order."""
    return hashlib.sha256(json.dumps(examples).encode()).hexdigest()[:16]


def _require(examples: Sequence[object]) -> None:
    if not examples:
        raise InvalidData("got no texts to train on, or none held out, expected at least one of each")


def encode_all(lm: FrozenLM, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts, without special tokens; BOS is the network's business."""
    return lm.tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
