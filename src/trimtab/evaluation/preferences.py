"""Preference sets: answers of which some are better; read from the layouts in which such sets are published."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

from trimtab.training.data import Table, read_table, text_of

Layout = Literal["pairs", "rm-bench", "llmbar"]
SUBSET = ("subset", "domain", "source")


@final
@dataclass(frozen=True)
class Comparison:
    """Answers to one prompt.

    Attributes:
        prompt: empty where the texts are whole conversations.
        chosen: the better ones; in RM-Bench three styles of one answer: concise, detailed, detailed with Markdown.
        rejected: as many worse ones.
        subset: what part of the set it is of.
    """

    prompt: str
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]
    subset: str = ""


def read_preferences(
    source: str, split: str = "train", chosen_column: str = "chosen", rejected_column: str = "rejected"
) -> Table[Comparison]:
    """Read comparisons; each row's columns tell its layout.

    * `chosen` and `rejected`, each a text: pairs (ParaDetox, HH-RLHF, RewardBench); a `prompt` goes before both.
    * each a list of texts: RM-Bench (2410.16184), three styles of each.
    * `input`, `output_1`, `output_2` and `label`, 1 or 2: LLMBar (2310.07641).

    Args:
        source, split: as in `read_records`.
        chosen_column, rejected_column: other names for them.

    Raises:
        InvalidData: no such table, or no comparison in it.
    """

    def parse(row: dict[str, Any]) -> Comparison:
        if "output_1" in row and "output_2" in row:
            return _llmbar(row)
        chosen, rejected = _answers(row, chosen_column), _answers(row, rejected_column)
        if len(chosen) != len(rejected):
            raise ValueError(f"got {len(chosen)} chosen and {len(rejected)} rejected answers, expected as many")
        if chosen == rejected:
            raise ValueError("got the same answer twice, expected two")
        prompt = row.get("prompt")
        return Comparison(prompt if isinstance(prompt, str) else "", chosen, rejected, _subset(row))

    return read_table(source, split, parse)


def _llmbar(row: Mapping[str, Any]) -> Comparison:
    label = int(row["label"])
    if label not in (1, 2):
        raise ValueError(f"got label={label}, expected 1 or 2")
    better, worse = (str(row[f"output_{number}"]) for number in (label, 3 - label))
    return Comparison(text_of(dict(row), "input"), (better,), (worse,), _subset(row))


def _answers(row: Mapping[str, Any], column: str) -> tuple[str, ...]:
    found = row[column]
    answers: Sequence[Any] = found if isinstance(found, list) else [found]
    if not answers or not all(isinstance(answer, str) and answer for answer in answers):
        raise ValueError(f"got {column}={str(found)[:60]!r}, expected a text, or a list of them")
    return tuple(answers)


def _subset(row: Mapping[str, Any]) -> str:
    return next((str(row[column]) for column in SUBSET if isinstance(row.get(column), str)), "")
