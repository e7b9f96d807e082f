"""JSON as all records and rows are written and read: finite numbers only, text that always has an encoding."""

import json
import math
from collections import Counter
from typing import Any

from trimtab.checking import shown
from trimtab.errors import InvalidData

DEEPEST = 200  # levels of lists and objects; ours have 12
MOST_DIGITS = 300  # of a whole number: a float holds that size


def dump_json(value: Any, indent: int | None = None, ascii_only: bool = False) -> str:
    """Return a value as JSON, without a line break at its end. NaN and infinite numbers become null.

    Args:
        value: of dictionaries, lists, texts, numbers, booleans and None.
        indent: spaces per level; None for one line.
        ascii_only: write all other characters as escapes, as hashes of JSON have always been computed.
    """
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=ascii_only, allow_nan=False)
    except ValueError:  # a number that is not finite
        return dump_json(_finite(value), indent, ascii_only)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair can only be written as an escape
        return dump_json(value, indent, ascii_only=True)
    return text


def parse_json(text: str | bytes, nan_is_null: bool = False) -> Any:
    """Return the value of a JSON text.

    Args:
        text: the JSON.
        nan_is_null: read NaN as null.

    Raises:
        InvalidData: it is no JSON, is nested too deeply, has a key twice in one object, or has a number that is not
            finite or has too many digits.
    """

    def constant(name: str) -> None:
        if name != "NaN" or not nan_is_null:
            raise ValueError(f"got {name}, expected a finite number")

    try:
        value = json.loads(
            text,
            parse_constant=constant,
            parse_float=_finite_float,
            parse_int=_bounded_int,
            object_pairs_hook=_without_twins,
        )
        if _levels(value) > DEEPEST:
            raise RecursionError
    except RecursionError as error:
        raise InvalidData("not JSON that can be read: it is nested too deeply") from error
    except json.JSONDecodeError as error:  # its own message names a line: of one line, always the first
        raise InvalidData(f"not JSON: {error.msg.lower()} at character {error.pos + 1}") from error
    except ValueError as error:
        raise InvalidData(f"not JSON: {error}") from error
    return value


def parse_for_schema(text: str | bytes) -> Any:
    """Return the value of a JSON text whose numbers and depth a schema checks.

    Raises:
        ValueError: a key occurs twice in an object, or a number has too many digits.
        JSONDecodeError, UnicodeDecodeError: it is no JSON.
    """
    return json.loads(text, object_pairs_hook=_without_twins)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, from its pairs. Of a key that occurs twice, JSON says nothing, and one value would be dropped.

    Raises:
        ValueError: a key does.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"got the key {shown(twice)} twice, expected it once")
    return found


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value


def _levels(value: Any) -> int:
    """How deeply lists and objects are nested, counted level by level so that any depth can be counted."""
    level, levels = [value] if isinstance(value, dict | list) else [], 0
    while level:
        inside = [child for each in level for child in (each.values() if isinstance(each, dict) else each)]
        level, levels = [child for child in inside if isinstance(child, dict | list)], levels + 1
    return levels


def _bounded_int(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"got a number of {len(digits)} digits, expected at most {MOST_DIGITS}")
    return int(digits)


def _finite_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"got {digits[:20]}, expected a finite number")
    return value
