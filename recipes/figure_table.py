"""Figures with their 95 % intervals as a Markdown table."""

from typing import Any


def figure_table(found: dict[str, dict[str, Any]], title: str) -> str:
    """A row for each name, and a column for each of its figures.

    Args:
        found: the figures of each row, as `figure_entry` makes them.
        title: the head of the first column.
    """
    columns = list(next(iter(found.values())))
    lines = [f"| {title} | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for name, of in found.items():
        cells = [f"{of[each]['value']:.3f} ({of[each]['low']:.3f}–{of[each]['high']:.3f})" for each in columns]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines) + "\n"
