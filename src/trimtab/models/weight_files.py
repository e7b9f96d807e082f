"""Open the files of a model's weights without reading the weights: their headers, and their lengths."""

from pathlib import Path

from safetensors import safe_open

from trimtab.data.json_text import parse_json
from trimtab.errors import InvalidData

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


def check_weight_files(folder: Path) -> None:
    """Check that every file of weights is there, and is as long as its header says. It takes milliseconds.

    Pickled weights are left to the loader.

    Raises:
        InvalidData: a file is missing, or the index of the files cannot be read.
        SafetensorError: a header is damaged, or a file is cut.
    """
    for name in _weight_files(folder):
        if not (folder / name).is_file():
            raise InvalidData(f"it lacks {name}, which its index names")
        with safe_open(folder / name, "numpy"):
            pass


def _weight_files(folder: Path) -> list[str]:
    if (folder / WHOLE).is_file():
        return [WHOLE]
    if not (folder / INDEX).is_file():
        return []
    index = parse_json((folder / INDEX).read_bytes())
    names = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise InvalidData(f"its {INDEX} has no weight_map")
    return sorted(set(names.values()))
