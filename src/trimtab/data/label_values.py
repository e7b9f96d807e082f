"""Labels of texts: what counts as a number, and the scale that they are on."""

import math
from collections.abc import Mapping
from typing import Any, final

from trimtab.checking import shown
from trimtab.data.files import shown_path
from trimtab.data.visible import legible
from trimtab.errors import InvalidData, InvalidSetting

LabelRange = tuple[float, float]
LARGEST_LABEL = 1e30
BOOLEANS = {"true": 1.0, "false": 0.0}
NAME_WIDTH = 60  # characters of a column's name in a message
OUTSIDE_ROWS, OUTSIDE_SHARE = 2, 0.01  # more than these are another scale, not bad rows


def number_of(given: Any, column: str) -> float:
    """Return the label that a column gives: a number, a text of a number, or true (1) and false (0).

    Raises:
        ValueError: it is no finite number.
    """
    plain = given.strip().lower() if isinstance(given, str) else given
    try:
        label = BOOLEANS[plain] if isinstance(plain, str) and plain in BOOLEANS else float(plain)
    except (TypeError, ValueError, OverflowError):
        label = math.nan
    if not abs(label) <= LARGEST_LABEL or (isinstance(plain, str) and "_" in plain):  # Python reads 1_0 as 10
        raise ValueError(f"got {named(column)}={shown(given)}, expected a number")
    return label


def named(column: str) -> str:
    """Return the name of a column as messages show it: on one line, cut."""
    return legible(column[:NAME_WIDTH], keep="")


def check_label_range(label_range: LabelRange | None) -> LabelRange:
    """Return the range of labels; [0, 1] for None.

    Raises:
        InvalidSetting: it is not from a number to a higher one.
    """
    low, high = label_range or (0.0, 1.0)
    if not (abs(low) <= LARGEST_LABEL and abs(high) <= LARGEST_LABEL and low < high):
        raise InvalidSetting(f"got label_range={low:g} {high:g}, expected a number and a higher one")
    return low, high


@final
class OutsideLabels:
    """Counts the labels outside a range. A few are faults of their rows; many are another scale.

    Args:
        low, high: the range.
    """

    def __init__(self, low: float, high: float):
        self.low, self.high, self.rows = low, high, 0
        self.found: dict[str, LabelRange] = {}

    def check(self, labels: Mapping[str, float]) -> None:
        """Count the labels of a row, by column.

        Raises:
            ValueError: one is outside the range.
        """
        for column, label in labels.items():
            lowest, highest = self.found.get(column, (label, label))
            self.found[column] = (min(lowest, label), max(highest, label))
        for column, label in labels.items():
            if not self.low <= label <= self.high:
                self.rows += 1
                raise ValueError(f"got {named(column)}={label:g}, expected a number in [{self.low:g}, {self.high:g}]")

    def refuse(self, source: str, rows: int) -> None:
        """Refuse a table of which at least two rows, and 1 %, are outside.

        Args:
            source: the table.
            rows: the number of rows with numbers for labels.

        Raises:
            InvalidData: too many are outside; the message tells the range that the labels have.
        """
        if self.rows < OUTSIDE_ROWS or self.rows < OUTSIDE_SHARE * rows:
            return
        ranges = ", ".join(f"{named(column)} from {low:g} to {high:g}" for column, (low, high) in self.found.items())
        low, high = min(low for low, _ in self.found.values()), max(high for _, high in self.found.values())
        raise InvalidData(
            f"got labels outside [{self.low:g}, {self.high:g}] in {self.rows} of {rows} rows of {shown_path(source)} "
            f"({ranges}); give their scale: --label-range {low:g} {high:g}, in Python label_range=({low:g}, {high:g})"
        )
