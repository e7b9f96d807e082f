"""Preference data: better and worse answers to a prompt, read from the layouts of published data sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from trimtab.checking import checked, shown
from trimtab.data.label_values import named
from trimtab.data.tables import Table, check_text, read_table, text_of

SUBSET_COLUMNS = ("subset", "domain", "source")
LLMBAR_LABELS = {"1": 1, "2": 2, "1.0": 1, "2.0": 2}


@final
@dataclass(frozen=True)
class Comparison:
    """Better and worse answers to one prompt.

    Attributes:
        prompt: the prompt; empty if the answers are whole conversations.
        chosen: the better answers. RM-Bench has three styles of one answer: concise, detailed, detailed with Markdown.
        rejected: the worse answers, as many as chosen ones.
        subset: the name of the subset; empty if there is none.
    """

    prompt: str
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]
    subset: str = ""


@checked
def read_preferences(
    source: str | Path, split: str = "train", chosen_column: str = "chosen", rejected_column: str = "rejected"
) -> Table[Comparison]:
    """Read comparisons. The columns of a row determine its layout.

    * `chosen` and `rejected` are texts: pairs (ParaDetox, HH-RLHF, RewardBench). A `prompt` is optional.
    * `chosen` and `rejected` are lists of texts: RM-Bench (2410.16184), three styles of each answer.
    * `input`, `output_1`, `output_2` and `label` (1 or 2, the better output): LLMBar (2310.07641).

    All rows have as many answers as the first usable one.

    Args:
        source, split: as in `read_records`.
        chosen_column, rejected_column: the columns with the better and the worse answers.

    Returns:
        The comparisons, and the faults of rows that are skipped.

    Raises:
        InvalidData: no such table, or it has no usable row.
    """
    styles = 0

    def parse(row: dict[str, Any]) -> Comparison:
        nonlocal styles
        found = _comparison(row, chosen_column, rejected_column)
        styles = styles or len(found.chosen)
        if len(found.chosen) != styles:
            raise ValueError(f"got {len(found.chosen)} chosen answers, expected {styles}, as in the first row")
        return found

    return read_table(source, split, parse)


def _comparison(row: Mapping[str, Any], chosen_column: str, rejected_column: str) -> Comparison:
    if "output_1" in row and "output_2" in row:
        return _llmbar(row)
    chosen, rejected = _answers(row, chosen_column), _answers(row, rejected_column)
    if len(chosen) != len(rejected):
        raise ValueError(f"got {len(chosen)} chosen and {len(rejected)} rejected answers, expected equally many")
    if chosen == rejected:
        raise ValueError("got the same answer twice, expected two different answers")
    prompt = row.get("prompt")
    asked = check_text(prompt, "prompt") if isinstance(prompt, str) else ""
    return Comparison(asked, chosen, rejected, _subset(row))


def _llmbar(row: Mapping[str, Any]) -> Comparison:
    given = row["label"]
    if str(given) not in LLMBAR_LABELS:
        raise ValueError(f"got label={shown(given)}, expected 1 or 2")
    label = LLMBAR_LABELS[str(given)]
    better, worse = (text_of(row, f"output_{number}") for number in (label, 3 - label))
    return Comparison(text_of(row, "input"), (better,), (worse,), _subset(row))


def _answers(row: Mapping[str, Any], column: str) -> tuple[str, ...]:
    found = row[column]
    answers: Sequence[Any] = found if isinstance(found, list) else [found]
    if not answers or not all(isinstance(answer, str) and answer for answer in answers):
        raise ValueError(f"got {named(column)}={shown(found)}, expected a text or a list of texts")
    return tuple(check_text(answer, column) for answer in answers)


def _subset(row: Mapping[str, Any]) -> str:
    return next((check_text(row[column], column) for column in SUBSET_COLUMNS if isinstance(row.get(column), str)), "")
