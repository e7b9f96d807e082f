"""Training texts: labelled texts and pairs, read from tables, checked and sampled."""

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from trimtab.data.records import read_records
from trimtab.errors import InvalidData, InvalidSetting


@dataclass(frozen=True)
class LabelledText:
    """A text and its labels.

    Attributes:
        text: the text.
        labels: one label per attribute, in [0, 1]; empty if a teacher gives the rewards.
    """

    text: str
    labels: tuple[float, ...] = ()


@dataclass(frozen=True)
class TextPair:
    """Two texts, of which `chosen` is the better one."""

    chosen: str
    rejected: str


Row = TypeVar("Row")


@dataclass
class Table(Generic[Row]):
    """The rows of a table.

    Attributes:
        rows: the usable rows.
        faults: "line N: what is wrong", one for each row that is skipped.
    """

    rows: list[Row] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def read_labelled(
    source: str, columns: Sequence[str], text_column: str = "text", split: str = "train"
) -> Table[LabelledText]:
    """Read texts with one label column per attribute.

    Args:
        source, split: as in `read_records`.
        columns: the label columns, one per attribute, with numbers in [0, 1]; empty for texts without labels.
        text_column: the column with the text.

    Raises:
        InvalidData: no such table, or it has no usable row.
    """

    def parse(row: dict[str, Any]) -> LabelledText:
        return LabelledText(text_of(row, text_column), tuple(_label(row, column) for column in columns))

    return read_table(source, split, parse)


def read_pairs(
    source: str, chosen_column: str = "chosen", rejected_column: str = "rejected", split: str = "train"
) -> Table[TextPair]:
    """Read pairs of a better and a worse text.

    Args:
        source, split: as in `read_records`.
        chosen_column, rejected_column: the columns with the better and the worse text.

    Raises:
        InvalidData: no such table, or it has no usable row.
    """

    def parse(row: dict[str, Any]) -> TextPair:
        pair = TextPair(text_of(row, chosen_column), text_of(row, rejected_column))
        if pair.chosen == pair.rejected:
            raise ValueError("got the same text twice, expected two different texts")
        return pair

    return read_table(source, split, parse)


def read_table(source: str, split: str, parse: Callable[[dict[str, Any]], Row]) -> Table[Row]:
    """Read the rows of a table with a parser.

    Args:
        source, split: as in `read_records`.
        parse: turns the values by column into a row; a KeyError, ValueError or TypeError becomes a fault.

    Raises:
        InvalidData: no such table, or it has no usable row.
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
            table.faults.append(f"{record.place}: no column {error}; the columns are {columns}")
        except (ValueError, TypeError) as error:
            table.faults.append(f"{record.place}: {error}")
    if not table.rows:
        raise InvalidData(f"{source!r} has no usable row; first fault: {(table.faults or ['the table is empty'])[0]}")
    return table


def column_of(row: dict[str, Any], column: str) -> Any:
    """Return the value of a column. `prompt.text` is the field `text` of the column `prompt`."""
    if column in row or "." not in column:
        return row[column]
    outer, _, inner = column.partition(".")
    return column_of(row[outer], inner)


def text_of(row: dict[str, Any], column: str) -> str:
    """Return the text in a column.

    Raises:
        KeyError: no such column.
        ValueError: the value is not a text, or it is blank.
    """
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
    """Return the rows in random order, at most `limit` of them.

    Raises:
        InvalidSetting: the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise InvalidSetting(f"got limit={limit}, expected at least 1")
    return random.Random(seed).sample(list(rows), len(rows))[:limit]


def select_balanced(rows: Sequence[LabelledText], limit: int | None, seed: int) -> list[LabelledText]:
    """Return equally many rows with a first label of at least ½ and below, in random order, at most `limit` in all.

    Raises:
        InvalidData: all rows are on one side.
        InvalidSetting: the limit is below 2.
    """
    if limit is not None and limit < 2:
        raise InvalidSetting(f"got limit={limit}, expected at least 2 to balance")
    shuffled = select_rows(rows, None, seed)
    high = [row for row in shuffled if row.labels[0] >= 0.5]
    low = [row for row in shuffled if row.labels[0] < 0.5]
    each = min(len(high), len(low), (limit or len(rows)) // 2)
    if not each:
        raise InvalidData(
            f"got {len(high)} rows of at least 0.5 and {len(low)} below, expected some of each to balance"
        )
    return [row for pair in zip(high[:each], low[:each], strict=True) for row in pair]


def digest_of(examples: Sequence[object]) -> str:
    """Return a hash of a list of JSON values; the order matters."""
    return hashlib.sha256(json.dumps(examples).encode()).hexdigest()[:16]
