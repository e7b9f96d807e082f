"""Training texts: labelled texts and pairs, read from tables, checked and sampled."""

import hashlib
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from trimtab.checking import checked, shown
from trimtab.data.files import shown_path
from trimtab.data.json_text import dump_json
from trimtab.data.jsonlines import is_file
from trimtab.data.label_values import LabelRange, OutsideLabels, check_label_range, named, number_of
from trimtab.data.records import read_records
from trimtab.errors import InvalidData, InvalidSetting, WrongType

SHOWN_COLUMNS = 20  # in a message


@checked
@dataclass(frozen=True)
class LabelledText:
    """A text and its labels.

    Attributes:
        text: the text.
        labels: one label per attribute, in [0, 1]; empty if a teacher gives the rewards.
        message: the user's message that the text answers; empty if it answers none.
    """

    text: str
    labels: tuple[float, ...] = ()
    message: str = field(default="", repr=False)  # hashes of older tables are of rows without it


@checked
@dataclass(frozen=True)
class TextPair:
    """Two texts, of which `chosen` is the better one."""

    chosen: str
    rejected: str


@checked
@dataclass(frozen=True)
class PromptedText:
    """A text, and the prompt before it; an empty prompt is none."""

    text: str
    prompt: str = ""


Row = TypeVar("Row")


def texts_of(row: object) -> tuple[str, ...]:
    """The texts of a labelled text, of a pair, or of a text with its prompt."""
    return tuple(value for value in vars(row).values() if isinstance(value, str))


@dataclass
class Table(Generic[Row]):
    """The rows of a table.

    Attributes:
        rows: the usable rows.
        faults: "line N: what is wrong", one for each row that is skipped.
        sha256: the hash of the file's bytes; for a data set, of the rows read.
    """

    rows: list[Row] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    sha256: str = ""


@checked
def read_labelled(
    source: str | Path,
    columns: Sequence[str],
    text_column: str = "text",
    split: str = "train",
    label_range: LabelRange | None = None,
) -> Table[LabelledText]:
    """Read texts with one label column per attribute.

    Args:
        source, split: as in `read_records`.
        columns: the label columns, one per attribute; empty for texts without labels. Labels are numbers, or true (1)
            and false (0).
        text_column: the column with the text.
        label_range: the lowest and the highest label, which become 0 and 1; default: labels are in [0, 1].

    Raises:
        InvalidSetting: the range is not from a number to a higher one.
        WrongType: an argument of another type.
        InvalidData: no such table, no usable row, or 1 % of the rows have a label outside the range.
    """
    if isinstance(columns, str):
        raise WrongType(f"got columns={shown(columns)}, expected a list of texts")
    low, high = check_label_range(label_range)
    outside = OutsideLabels(low, high)

    def parse(row: dict[str, Any]) -> LabelledText:
        text = text_of(row, text_column)
        labels = [number_of(column_of(row, column), column) for column in columns]
        outside.check(dict(zip(columns, labels, strict=True)))
        return LabelledText(text, tuple((label - low) / (high - low) for label in labels))

    try:
        table = read_table(source, split, parse)
    except InvalidData:
        outside.refuse(str(source), outside.rows)
        raise
    outside.refuse(str(source), len(table.rows) + outside.rows)
    return table


@checked
def read_pairs(
    source: str | Path, chosen_column: str = "chosen", rejected_column: str = "rejected", split: str = "train"
) -> Table[TextPair]:
    """Read pairs of a better and a worse text.

    Args:
        source, split: as in `read_records`.
        chosen_column, rejected_column: the columns with the better and the worse text.

    Raises:
        WrongType: an argument of another type.
        InvalidData: no such table, or it has no usable row.
    """

    def parse(row: dict[str, Any]) -> TextPair:
        pair = TextPair(text_of(row, chosen_column), text_of(row, rejected_column))
        if pair.chosen == pair.rejected:
            raise ValueError("got the same text twice, expected two different texts")
        return pair

    return read_table(source, split, parse)


@checked
def read_prompted(
    source: str | Path, text_column: str = "text", prompt_column: str | None = None, split: str = "train"
) -> Table[PromptedText]:
    """Read texts, each with the prompt before it if there is such a column.

    Args:
        source, split: as in `read_records`.
        text_column, prompt_column: the columns with the text and with its prompt; None for no prompts.

    Raises:
        WrongType: an argument of another type.
        InvalidData: no such table, or it has no usable row.
    """

    def parse(row: dict[str, Any]) -> PromptedText:
        return PromptedText(text_of(row, text_column), "" if prompt_column is None else text_of(row, prompt_column))

    return read_table(source, split, parse)


def read_table(source: str | Path, split: str, parse: Callable[[dict[str, Any]], Row]) -> Table[Row]:
    """Read the rows of a table with a parser.

    Args:
        source, split: as in `read_records`.
        parse: turns the values by column into a row; a KeyError, ValueError or TypeError becomes a fault.

    Raises:
        InvalidData: no such table, or it has no usable row.
    """
    table: Table[Row] = Table(sha256=hash_of_file(source))
    for record in read_records(source, split):
        if record.row is None:
            table.faults.append(str(record.fault))
            continue
        try:
            table.rows.append(parse(record.row))
        except KeyError as error:
            missing = shown(error.args[0] if error.args else "")
            table.faults.append(f"{record.place}: no column {missing}; the columns are {_columns(record.row)}")
        except (ValueError, TypeError) as error:
            table.faults.append(f"{record.place}: {error}")
    if not table.rows:
        first = (table.faults or ["the table is empty"])[0]
        raise InvalidData(f"{shown_path(source)} has no usable row; first fault: {first}")
    table.sha256 = table.sha256 or hashlib.sha256(repr(table.rows).encode()).hexdigest()
    return table


def _columns(row: Mapping[str, Any]) -> str:
    more = ["…"] if len(row) > SHOWN_COLUMNS else []
    return ", ".join([*map(shown, list(row)[:SHOWN_COLUMNS]), *more])


def hash_of_file(source: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal; empty if there is no such file.

    Raises:
        InvalidData: the file cannot be read.
    """
    if not is_file(Path(source)):
        return ""
    try:
        with open(source, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidData(f"cannot read {shown_path(source)}: {error.strerror or error}") from error


def column_of(row: Any, column: str) -> Any:
    """Return the value of a column. `prompt.text` is the field `text` of the column `prompt`.

    Raises:
        KeyError: no such column.
    """
    if not isinstance(row, dict):
        raise KeyError(column)
    outer, dot, inner = column.partition(".")
    return row[column] if column in row or not dot else column_of(row[outer], inner)


def text_of(row: Mapping[str, Any], column: str) -> str:
    """Return the text in a column.

    Raises:
        KeyError: no such column.
        ValueError: the value is not a text, it is blank, or no encoding can write it.
    """
    text = column_of(row, column)
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"got {named(column)}={shown(text)}, expected text")
    return check_text(text, column)


def check_text(text: str, column: str) -> str:
    """Return a text.

    Raises:
        ValueError: it has half of a surrogate pair, which no tokenizer can read.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"got {named(column)} with half of a surrogate pair, {text[error.start]!r} at character {error.start}, "
            "expected whole characters"
        ) from error
    return text


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


def select_labelled(
    rows: Sequence[LabelledText], at_least: float | None = None, at_most: float | None = None
) -> list[LabelledText]:
    """Return the rows whose first label is within bounds, in order. None is no bound.

    Raises:
        InvalidData: there is none.
    """
    low, high = (-math.inf if at_least is None else at_least), (math.inf if at_most is None else at_most)
    found = [row for row in rows if low <= row.labels[0] <= high]
    if not found:
        raise InvalidData(f"got {len(rows)} rows, none with a label from {low:g} to {high:g}")
    return found


def digest_of(examples: Sequence[object]) -> str:
    """Return a hash of a list of JSON values; the order matters. It is the hash of their JSON in ASCII."""
    return hashlib.sha256(dump_json(examples, ascii_only=True).encode()).hexdigest()[:16]
