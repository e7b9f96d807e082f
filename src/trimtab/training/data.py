"""Labelled text for training: read, checked, counted and tokenized."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from trimtab.errors import InvalidData, InvalidSetting
from trimtab.frozen.lm import FrozenLM
from trimtab.jsonlines import read_lines


@dataclass(frozen=True)
class LabelledText:
    """A text and its label for each attribute, each in [0, 1]."""

    text: str
    labels: tuple[float, ...]


@dataclass
class TextFile:
    """Labelled texts and what was wrong with the rest.

    Attributes:
        rows: the good rows.
        faults: "line N: what is wrong", one per bad row.
    """

    rows: list[LabelledText] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def read_labelled(path: Path, columns: Sequence[str], text_column: str = "text") -> TextFile:
    """Read JSON lines (.gz allowed) with a text and one label column per attribute.

    Args:
        path: the file.
        columns: the label columns, one per attribute, numbers in [0, 1].
        text_column: the column of the text.

    Raises:
        InvalidData: no such file, or not one good row in it.
    """
    found = TextFile()
    for line in read_lines(path):
        if line.row is None:
            found.faults.append(str(line.fault))
            continue
        try:
            found.rows.append(_labelled(line.row, columns, text_column))
        except (ValueError, KeyError, TypeError) as error:
            found.faults.append(f"line {line.number}: {type(error).__name__} {error}")
    if not found.rows:
        raise InvalidData(f"{str(path)!r} has no usable row; first fault: {(found.faults or ['it is empty'])[0]}")
    return found


def _labelled(row: dict[str, Any], columns: Sequence[str], text_column: str) -> LabelledText:
    text = row[text_column]
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"got {text_column}={text!r}, expected text")
    labels = tuple(float(row[column]) for column in columns)
    if not all(0 <= label <= 1 for label in labels):
        raise ValueError(f"got labels {labels}, expected numbers in [0, 1]")
    return LabelledText(text, labels)


def select_rows(rows: Sequence[LabelledText], limit: int | None, balance: bool, seed: int) -> list[LabelledText]:
    """Shuffle, and cut to a number of rows; with `balance`, as many above ½ in the first attribute as below.

    Raises:
        InvalidData: `balance` with rows of one class only.
        InvalidSetting: a limit below 1.
    """
    if limit is not None and limit < 1:
        raise InvalidSetting(f"got limit={limit}, expected at least 1")
    shuffled = random.Random(seed).sample(list(rows), len(rows))
    if not balance:
        return shuffled[:limit]
    high = [row for row in shuffled if row.labels[0] >= 0.5]
    low = [row for row in shuffled if row.labels[0] < 0.5]
    each = min(len(high), len(low), (limit or len(rows)) // 2)
    if not each:
        raise InvalidData(f"got {len(high)} rows above 0.5 and {len(low)} below, expected some of each to balance")
    return [row for pair in zip(high[:each], low[:each], strict=True) for row in pair]


class TokenizedTexts(Dataset[dict[str, Any]]):
    """Token ids, labels and lengths, cut to a maximum length.

    Args:
        rows: labelled texts.
        lm: whose tokenizer to use.
        max_tokens: longer texts lose their end.
    """

    def __init__(self, rows: Sequence[LabelledText], lm: FrozenLM, max_tokens: int):
        encoded = lm.tokenizer([row.text for row in rows], add_special_tokens=False)["input_ids"]
        self.truncated = sum(len(ids) > max_tokens for ids in encoded)
        self.examples = [
            {"input_ids": ids[:max_tokens], "labels": row.labels, "length": min(len(ids), max_tokens)}
            for ids, row in zip(encoded, rows, strict=True)
            if ids
        ]

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.examples[index]
