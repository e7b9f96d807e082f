"""The choices of TruthfulQA's table: the best answer, then the incorrect ones."""

from typing import Any


def with_choices(table: Any) -> Any:
    """A question and its choices for each row; the first is right."""
    return table.map(
        lambda row: {
            "question": row["Question"],
            "choices": [row["Best Answer"].strip(), *(each.strip() for each in row["Incorrect Answers"].split(";"))],
        },
        remove_columns=table.column_names,
    )
