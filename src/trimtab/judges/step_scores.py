"""Where the steps of a text end, and how their scores become one. No torch here."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from trimtab.checking import shown
from trimtab.errors import InvalidSetting

Aggregate = Callable[[Sequence[float]], float]  # the scores of a text's steps, each from 0 to 1, to one such score
SENTENCE_END = re.compile(r"[.!?]+[\"')\]]*(?=\s|$)|\n")
LINE_END = re.compile(r"\n")
STEP_ENDS: Mapping[str, re.Pattern[str]] = {"sentences": SENTENCE_END, "lines": LINE_END}


def log_sum(scores: Sequence[float]) -> float:
    """1 / (1 − Σ log s): the order of the sum of logs, which is that of the product, within 0 to 1; no underflow."""
    return 0.0 if min(scores) <= 0 else 1 / (1 - math.fsum(map(math.log, scores)))


def last(scores: Sequence[float]) -> float:
    """The score of the whole text: what a judge without steps gives."""
    return scores[-1]


AGGREGATES: Mapping[str, Aggregate] = {
    "min": min,
    "mean": fmean,
    "product": math.prod,
    "log-sum": log_sum,
    "last": last,
}


def check_steps(steps: str, aggregate: str) -> None:
    """Check the names of a kind of steps and of an aggregate; "own" is a function of the caller's.

    Raises:
        InvalidSetting: there is none of that name.
    """
    if steps not in STEP_ENDS:
        raise InvalidSetting(f"got steps={shown(steps)}, expected {' or '.join(STEP_ENDS)}")
    if aggregate not in (*AGGREGATES, "own"):
        raise InvalidSetting(
            f"got aggregate={shown(aggregate)}, expected {', '.join(AGGREGATES)}, or in Python a function of the scores"
        )


def step_ends(text: str, steps: str) -> list[int]:
    """Where the steps of a text end, in characters; the last is the end of the text. Blank steps do not count."""
    found = [match.end() for match in STEP_ENDS[steps].finditer(text)]
    ends = [end for start, end in zip([0, *found], found, strict=False) if text[start:end].strip()]
    return [*(end for end in ends if text[end:].strip()), len(text)]
