"""Multiple-choice questions, read from tables."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from trimtab.checking import checked, shown
from trimtab.data.label_values import named
from trimtab.data.tables import Table, check_text, column_of, read_table, text_of


@final
@dataclass(frozen=True)
class Question:
    """A question with several answers, of which one is right.

    Attributes:
        prompt: what precedes an answer.
        choices: the answers, as they stand behind the prompt: with a space before them, if there shall be one.
        answer: the place of the right one, from 0.
    """

    prompt: str
    choices: tuple[str, ...]
    answer: int


@checked
def read_questions(
    source: str | Path, split: str = "train", check: Callable[[Question], object] = lambda question: None
) -> Table[Question]:
    """Read questions: columns `prompt`, a text; `choices`, a list of texts; and `answer`, the place of the right one.

    Args:
        source, split: as in `read_records`.
        check: raises ValueError for a question that cannot be asked; it becomes a fault.

    Returns:
        The questions, and the faults of rows that are skipped.

    Raises:
        InvalidData: no such table, or it has no usable row.
    """

    def parse(row: dict[str, Any]) -> Question:
        question = Question(text_of(row, "prompt"), _choices(row), column_of(row, "answer"))
        if type(question.answer) is not int or not 0 <= question.answer < len(question.choices):
            raise ValueError(
                f"got answer={shown(question.answer)}, expected a whole number from 0 to {len(question.choices) - 1}"
            )
        check(question)
        return question

    return read_table(source, split, parse)


def _choices(row: dict[str, Any]) -> tuple[str, ...]:
    found = column_of(row, "choices")
    if not isinstance(found, list) or len(found) < 2 or not all(isinstance(each, str) and each for each in found):
        raise ValueError(f"got {named('choices')}={shown(found)}, expected a list of two texts or more")
    if len(set(found)) < len(found):
        raise ValueError("got the same choice twice, expected different ones")
    return tuple(check_text(each, "choices") for each in found)
