"""Compare a row of a file with the text that was written again."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from trimtab.data.jsonlines import Line
from trimtab.generation import Generation
from trimtab.jobs.job import Job, RewindJob

TOLERANCES = {"float32": 1e-3, "bfloat16": 0.1}  # of rewards, which round differently in another batch


@final
@dataclass(frozen=True)
class Replayed:
    """A row that was written again.

    Attributes:
        number: the line of the row in its file, from 1.
        fault: why it could not be written again, or what differs; None if it is the same.
        place: the index of the first token that differs; None if none does, or it was not written.
    """

    number: int
    fault: str | None
    place: int | None = None


def compare(line: Line, samples: Sequence[Generation], job: Job | RewindJob) -> Replayed:
    """Compare a row with the sample of its number: the tokens, the text, why it ended, and the rewards.

    Args:
        line: the row.
        samples: of its prompt, as they were written again.
        job: its settings.
    """
    row = line.row or {}
    recorded, number = row.get("token_ids"), row.get("sample", 0)
    if not isinstance(recorded, list) or not isinstance(number, int) or not 0 <= number < len(samples):
        return Replayed(line.number, "the row lacks its token_ids, or the number of its sample")
    written = samples[number]
    if written.token_ids != recorded:
        place = first_difference(written.token_ids, recorded)
        return Replayed(line.number, f"the texts differ from token {place + 1} on", place)
    forged = [name for name, expected in facts_of(written, job).items() if name in row and row[name] != expected]
    if not same_rewards(row.get("rewards"), written, TOLERANCES.get(job.dtype, TOLERANCES["bfloat16"])):
        forged.append("rewards")
    if forged:
        return Replayed(line.number, f"the tokens are the same, but not the row's {', '.join(forged)}")
    return Replayed(line.number, None)


def facts_of(written: Generation, job: Job | RewindJob) -> dict[str, Any]:
    """What a row says of its text that follows from the tokens and the job."""
    return {
        "text": written.text,
        "tokens": [token.text for token in written.trace],
        "finish_reason": written.finish_reason,
        "steer": list(job.steer),
    }


def same_rewards(recorded: object, written: Generation, tolerance: float) -> bool:
    """Whether a row's rewards are those of the tokens, as far as rounding goes; a row may have none."""
    if recorded is None:
        return True
    found = [[token.rewards[name] for token in written.trace] for name in written.mean_rewards]
    if not isinstance(recorded, Mapping) or len(recorded) != len(found):
        return False
    pairs = zip(recorded.values(), found, strict=True)  # by order: the same weights may have another name by now
    return all(_close(column, values, tolerance) for column, values in pairs)


def first_difference(one: Sequence[int], other: Sequence[int]) -> int:
    """The index of the first token that differs, or the length of the shorter list."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, pair in pairs if pair[0] != pair[1]), min(len(one), len(other)))


def _close(recorded: object, values: Sequence[float], tolerance: float) -> bool:
    if not isinstance(recorded, list) or len(recorded) != len(values):
        return False
    numbers = [value for value in recorded if isinstance(value, int | float)]
    return len(numbers) == len(values) and all(
        math.isclose(number, value, abs_tol=tolerance) for number, value in zip(numbers, values, strict=True)
    )
