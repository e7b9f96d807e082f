"""What a client is told of a body that does not fit its schema, in the words of JSON rather than of Python."""

from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.checking import shown
from trimtab.data.json_text import dump_json
from trimtab.server.api_errors import APIError

OBJECT, LIST = "an object", "a list"
EXPECTED = {
    "dict_type": OBJECT,
    "model_type": OBJECT,
    "model_attributes_type": OBJECT,
    "list_type": LIST,
    "string_type": "a text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "none_required": "null, or no such field",
    "greater_than_equal": "at least {ge}",
    "greater_than": "above {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "below {lt}",
    "too_long": "at most {max_length} of them",
    "too_short": "at least {min_length} of them",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least {min_length} characters",
}


def schema_error(faults: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> APIError:
    """The error for a body that does not fit its schema: the first fault, with the name of its field.

    Args:
        faults: as pydantic lists them.
        fields: all fields of the schema.
    """
    fault = faults[0]
    path = [str(part) for part in fault["loc"] if part != "body"]
    field = ".".join(path) or None
    if fault["type"] == "json_invalid":
        place = f"{fault['ctx']['error'].lower()} at character {int(path[0]) + 1}" if path else "it is not UTF-8"
        return APIError(400, f"got a body that is no JSON: {place}", None, "invalid_json")
    if field is None:
        expected = ", ".join(fields)
        return APIError(400, f"got a body that is no JSON object, expected one with: {expected}", None, "invalid_json")
    if fault["type"] == "extra_forbidden":
        expected = f"one of: {', '.join(fields)}" if len(path) == 1 else "a field of the documentation"
        return APIError(400, f"got the unknown field {shown(field)}, expected {expected}", field, "unknown_field")
    if fault["type"] == "missing":
        return APIError(400, f"got no field {shown(field)}, expected a value for it", field, "missing_field")
    given = shown(_Json(fault["input"]))
    return APIError(400, f"got {given} for {shown(field)}, expected {_expected(fault)}", field, "invalid_value")


class _Json:
    """A value that describes itself as the JSON that the client sent."""

    def __init__(self, value: Any):
        self.value = value

    def __repr__(self) -> str:
        return repr(self.value) if isinstance(self.value, float) else dump_json(self.value)  # JSON has no infinity


def _expected(fault: Mapping[str, Any]) -> str:
    """What a field should have had."""
    known = EXPECTED.get(fault["type"])
    if known is not None:
        return known.format(**fault.get("ctx", {}))
    message = str(fault["msg"]).removeprefix("Value error, ")
    words = message.removeprefix("Input should be ").removeprefix("expected ")
    return words[:1].lower() + words[1:]
