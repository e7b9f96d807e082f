"""The file of a report's record, report.json. No torch here, so that it is checked at once."""

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from trimtab.data.files import read_record
from trimtab.data.json_text import dump_json
from trimtab.errors import InvalidData
from trimtab.evaluation.checks import write_in
from trimtab.evaluation.report.record_schema import record_fault

REPORT_FILE = "report.json"
Record = Mapping[str, Any]


def write_record(record: Record, folder: Path) -> None:
    """Write a report's record as report.json."""
    write_in(folder, REPORT_FILE, dump_json(record, indent=1) + "\n")


def read_report(folder: Path) -> dict[str, Any]:
    """Read the record of a report that was written before.

    Raises:
        InvalidData: there is none, or it is damaged.
    """
    path = folder / REPORT_FILE
    record = read_record(path, nan_is_null=True)
    if not record:
        raise InvalidData(f"got {str(folder)!r}, expected a folder with a {REPORT_FILE}; run `trimtab evaluate report`")
    if fault := record_fault(record):
        raise InvalidData(f"{str(path)!r} is damaged: {fault}; run `trimtab evaluate report` to write it again")
    return record


def by_set(record: Record) -> list[tuple[tuple[str, str], list[Record]]]:
    """The rows of each prompt set and direction."""

    def of(row: Record) -> tuple[str, str]:
        return row["prompts"], row["direction"]

    return [(key, list(group)) for key, group in groupby(record["rows"], key=of)]
