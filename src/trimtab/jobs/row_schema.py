"""The schema of a job's output row: what a run that resumes reads of it."""

from collections.abc import Callable, Mapping
from typing import Any

from trimtab.checking import shown


def row_fault(row: Mapping[str, Any]) -> str:
    """Return what is wrong with a row; empty if nothing is."""
    wrong = next((name for name, is_right in ROW.items() if not is_right(row.get(name))), None)
    return "" if wrong is None else f"{wrong!r} is {shown(row.get(wrong))}" if wrong in row else f"it has no {wrong!r}"


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_count, value))


def _is_record(value: Any) -> bool:
    return isinstance(value, dict)


ROW: dict[str, Callable[[Any], bool]] = {
    "line": _is_count,
    "sample": _is_count,
    "text": _is_text,
    "token_ids": _are_counts,
    "provenance": _is_record,
}
