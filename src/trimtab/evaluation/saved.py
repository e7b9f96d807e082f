"""JSON records in the folder of a comparison."""

import re
from pathlib import Path
from typing import Any

from trimtab.data.json_text import parse_json
from trimtab.errors import InvalidData

NAN = re.compile(rb"(?<=[\[:,\s])NaN(?=\s*[\],}])")  # earlier versions wrote NaN, which JSON does not have


def read_saved(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; an empty one if there is no such file.

    Raises:
        InvalidData: the file does not hold a JSON object.
    """
    if not path.exists():
        return {}
    try:
        record = parse_json(NAN.sub(b"null", path.read_bytes()))
    except InvalidData as error:
        raise InvalidData(f"cannot read {str(path)!r} ({error}); remove the file, and it is written again") from error
    if not isinstance(record, dict):
        raise InvalidData(f"got {type(record).__name__} in {str(path)!r}, expected an object; remove the file")
    return record
