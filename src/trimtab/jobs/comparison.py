"""Compare a row of a file with the row that is written again."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, final

from trimtab.best_of_settings import BestOfSettings
from trimtab.data.differences import differences
from trimtab.data.jsonlines import Line
from trimtab.engines.provenance import LATER, MACHINE
from trimtab.engines.sampling_params import SamplingParams
from trimtab.jobs.job import Job, RewindJob
from trimtab.rewind.rewind_settings import Budget, RewindSettings

TOLERANCES = {"float32": 1e-3, "bfloat16": 0.1}  # of rewards, which round differently in another batch
UNCHECKED = ("line", "usage", "provenance")  # the place in the input, the cost; provenance has rules
STEERED = ("logprob", "kl")  # of a trace: they have β × reward in them
COST = "call"  # of a search, which no other run repeats
UNTOLD = (*MACHINE, "reward", "source", "base", "speculate")  # where, how fast; the name and place of the same weights
KINDS = (Job, RewindJob, SamplingParams, RewindSettings, Budget, BestOfSettings)
SETTINGS = {each.name for kind in KINDS for each in fields(kind)}
UNSAID = {*SETTINGS, *LATER}  # older rows lack newer settings: they were written with the defaults


class Tolerances(NamedTuple):
    """How far two numbers may be apart, because another batch rounds differently.

    Attributes:
        alone: rewards, and what the model says of a token.
        steered: what a reward's rounding is multiplied into, by β.
    """

    alone: float
    steered: float


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


def compare(line: Line, expected: Mapping[str, Any], tolerance: float) -> Replayed:
    """Compare a row, field by field, with the row of the text that was written again.

    Args:
        line: the row.
        expected: the row that its prompt and its provenance give here.
        tolerance: of numbers that round differently in another batch.
    """
    row = line.row or {}
    recorded, written = row.get("token_ids"), expected["token_ids"]
    if not isinstance(recorded, list):
        return Replayed(line.number, "the row lacks its token_ids")
    if recorded != written:
        place = first_difference(written, recorded)
        return Replayed(line.number, f"the texts differ from token {place + 1} on", place)
    faults = [
        ("but the row lacks", [name for name in expected if name not in row and name != COST]),
        ("but not the row's", forged_fields(row, expected, tolerance)),
        ("but not the row's provenance:", provenance_faults(row.get("provenance"), expected["provenance"])),
    ]
    found = [f"{what} {', '.join(names)}" for what, names in faults if names]
    return Replayed(line.number, f"the tokens are the same, {'; '.join(found)}" if found else None)


def forged_fields(row: Mapping[str, Any], expected: Mapping[str, Any], tolerance: float) -> list[str]:
    """The fields of a row that do not follow from its tokens and its provenance."""
    steers = expected["provenance"]["steer"]
    tolerances = Tolerances(tolerance, tolerance * max(1.0, sum(abs(term["beta"]) for term in steers)))
    return [
        name
        for name in row
        if name not in UNCHECKED
        and not (name == COST and name in expected)
        and not (name in expected and same(row[name], expected[name], tolerances))
    ]


def provenance_faults(recorded: object, expected: Mapping[str, Any]) -> list[str]:
    """The fields of a provenance that a row lacks or that differ, but for those that no other machine can check.

    Only rows of another version may lack settings.
    """
    if not isinstance(recorded, Mapping):
        return ["it is no record"]
    is_older = recorded.get("trimtab") != expected["trimtab"]
    differing = differences(recorded, expected, UNTOLD, UNSAID if is_older else (), whole=not is_older)
    absent = [f"no {name}" for name in expected if name not in recorded]
    return absent or ([differing] if differing else [])


def same(recorded: object, expected: object, tolerances: Tolerances, name: str = "") -> bool:
    """Whether two JSON values are the same, as far as fractions are rounded. The order of candidates may differ.

    Args:
        recorded, expected: the values.
        tolerances: how far fractions may be apart.
        name: of the field that they are in.
    """
    if isinstance(expected, dict) and isinstance(recorded, dict):
        return recorded.keys() == expected.keys() and all(
            same(recorded[name], value, tolerances, name) for name, value in expected.items()
        )
    if isinstance(expected, list) and isinstance(recorded, list):
        pairs = zip(by_token(recorded), by_token(expected), strict=False)
        return len(recorded) == len(expected) and all(same(one, other, tolerances, name) for one, other in pairs)
    if isinstance(expected, float):
        is_number = type(recorded) in (int, float)
        apart = tolerances.steered if name in STEERED else tolerances.alone
        return is_number and math.isclose(recorded, expected, rel_tol=1e-6, abs_tol=apart)  # type: ignore[arg-type]
    return type(recorded) is type(expected) and recorded == expected


def by_token(values: Sequence[Any]) -> Sequence[Any]:
    """Candidates in the order of their tokens, because rounding may swap two of them; other lists as they are."""
    if all(isinstance(value, dict) and "chosen" in value and type(value.get("token_id")) is int for value in values):
        return sorted(values, key=lambda candidate: candidate["token_id"])
    return values


def first_difference(one: Sequence[int], other: Sequence[int]) -> int:
    """The index of the first token that differs, or the length of the shorter list."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, pair in pairs if pair[0] != pair[1]), min(len(one), len(other)))


def rename_rewards(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A row in which rewards have the names that they had when another one was written.

    Args:
        row: as `describe` writes it.
        names: the names there by those here; empty if all are the same.
    """
    if not names:
        return dict(row)

    def renamed(value: Any, is_rewards: bool = False) -> Any:
        if isinstance(value, dict):
            return {
                _name(key, names) if is_rewards else key: renamed(of, key == "rewards") for key, of in value.items()
            }
        return [renamed(each) for each in value] if isinstance(value, list) else value

    return {name: value if name == "provenance" else renamed(value, name == "rewards") for name, value in row.items()}


def numbered(names: Sequence[str]) -> list[str]:
    """The names of different rewards in a row: the second of a name is "name#2"."""
    found: list[str] = []
    for name in names:
        options: Collection[str] = [name, *(f"{name}#{number}" for number in range(2, len(names) + 1))]
        found.append(next(option for option in options if option not in found))
    return found


def _name(column: str, names: Mapping[str, str]) -> str:
    reward, colon, attribute = column.rpartition(":")
    return f"{names.get(reward, reward)}{colon}{attribute}"
