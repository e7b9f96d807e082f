"""The rows that `trimtab train` trains on, those that are held out, and what the reward's card says of both."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

from trimtab.cli.console import legible, report_faults
from trimtab.data.visible import count_of
from trimtab.errors import InvalidData

if TYPE_CHECKING:
    from rich.console import Console

    from trimtab.data.tables import Row, Table
    from trimtab.training.recipe import Source

HELD_OUT_SHARE = 20  # one row in 20


@final
class TrainRows:
    """Divides the rows of a source, and collects facts about them for the card.

    Args:
        source: tables to read.
        console: where warnings are printed.

    Attributes:
        facts: hashes, counts of skipped rows, warnings, and what was noted.
    """

    def __init__(self, source: "Source", console: "Console"):
        self.source, self.console = source, console
        self.facts: dict[str, Any] = {}

    def note(self, **facts: object) -> None:
        """Note facts for the card; None is no fact."""
        self.facts |= {name: fact for name, fact in facts.items() if fact is not None}

    def warn(self, message: str) -> None:
        """Print a warning, and note it for the card."""
        from rich.text import Text

        self.facts["warning"] = "; ".join([*filter(None, [self.facts.get("warning")]), message])
        self.console.print(Text(legible(f"warning: {message}", keep=""), "yellow"))

    def report_faults(self, table: "Table[Row]", name: str, role: str = "data") -> "Table[Row]":
        """Print which rows of a table are skipped, note its hash, and return it."""
        from trimtab.training.facts import without_folders

        self.facts[f"{role}_sha256"] = table.sha256
        if table.faults:
            report_faults(name, table.faults)
            self.facts[f"skipped in {without_folders(name)}"] = len(table.faults)
        return table

    def split(self, rows: "Sequence[Row]", held: "Table[Row] | None") -> "tuple[Sequence[Row], Sequence[Row]]":
        """Return the rows to train on and the held-out rows: those of --held-out, or one row in 20."""
        if held is not None:
            table = self.report_faults(held, str(self.source.held_out), "held_out")
            if self.facts["held_out_sha256"] == self.facts["data_sha256"]:
                self.warn("--held-out is the training data: its figures say nothing about other texts")
            return rows, self._warn_of_shared(rows, table.rows[: self.source.held_out_limit])
        if len(rows) < 2:
            raise InvalidData("got 1 row, expected at least 2, because one is held out")
        share = max(1, len(rows) // HELD_OUT_SHARE)
        return rows[share:], self._warn_of_shared(rows[share:], rows[:share])

    def provenance(self) -> dict[str, Any]:
        """Return the names of the data, the command, and the facts."""
        from trimtab.training.facts import command_line, without_folders

        held = without_folders(self.source.held_out) if self.source.held_out else "5 % of the data"
        command = command_line(["trimtab", *sys.argv[1:]])
        return {"data": without_folders(self.source.data), "held_out": held, "command": command, **self.facts}

    def _warn_of_shared(self, rows: "Sequence[Row]", held: "Sequence[Row]") -> "Sequence[Row]":
        """Return the held-out rows, and warn if some of their texts are trained on."""
        from trimtab.data.tables import texts_of

        known = {texts_of(row) for row in rows}
        if shared := sum(texts_of(row) in known for row in held):
            self.warn(f"{shared} of {count_of(len(held), 'held-out row')} have texts that are trained on, too")
        return held
