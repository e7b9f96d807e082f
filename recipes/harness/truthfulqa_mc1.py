"""Read TruthfulQA's table: a question, its best answer and its incorrect answers."""

from typing import Any


def with_choices(table: Any) -> Any:
    """Return a table of questions and choices; the first choice is right."""
    return table.map(
        lambda row: {
            "question": row["Question"],
            "choices": [row["Best Answer"].strip(), *(each.strip() for each in row["Incorrect Answers"].split(";"))],
        },
        remove_columns=table.column_names,
    )
