"""The file of a comparison's folder that says how judges agree with the scores of data sets. No torch here."""

from pathlib import Path
from typing import Any

from trimtab.data.files import read_record
from trimtab.data.json_text import dump_json
from trimtab.data.outputs import check_folder
from trimtab.errors import InvalidData
from trimtab.evaluation.checks import check_files, holding, write_in

AGREEMENT_FILE = "judges.json"


def check_agreement_folder(folder: Path | None, option: str) -> None:
    """Check that figures can be saved in a folder; None stands for no folder.

    Raises:
        InvalidOutput: the folder is a file, or may not be written.
        InvalidData: its judges.json is damaged, or is not ours.
    """
    if folder is not None:
        check_folder(folder, option)
        check_files(folder, [AGREEMENT_FILE], option, ours=True)
        read_agreement(folder)


def save_agreement(folder: Path, source: str, found: dict[str, dict[str, Any]]) -> None:
    """Save the figures of `measure_judges` in the folder of a comparison; those of other data sets stay.

    Raises:
        InvalidData: the file with the other figures is damaged.
    """
    with holding(folder, AGREEMENT_FILE):
        record = read_agreement(folder)
        record[source] = record.get(source, {}) | found
        write_in(folder, AGREEMENT_FILE, dump_json(record, indent=1) + "\n")


def read_agreement(folder: Path) -> dict[str, Any]:
    """The saved figures of `measure_judges`, by data set and judge; None where there is no figure.

    Raises:
        InvalidData: the file is damaged.
    """
    record = read_record(folder / AGREEMENT_FILE, nan_is_null=True)
    for source, judges in record.items():
        if not are_figures(judges):
            raise InvalidData(
                f"the figures of {source!r} in {str(folder / AGREEMENT_FILE)!r} are damaged; remove the file, "
                "and measure the judges again"
            )
    return record


def are_figures(judges: Any) -> bool:
    """Whether a value holds the figures of judges by their names."""
    return isinstance(judges, dict) and all(map(_is_figures, judges.values()))


def _is_figures(of_judge: Any) -> bool:
    if not isinstance(of_judge, dict):
        return False
    figures = (of_judge.get(name, "") for name in ("spearman", "auc", "accuracy"))
    counts = (of_judge.get(name) for name in ("texts", "failed"))
    return all(x is None or type(x) in (int, float) for x in figures) and all(type(x) is int for x in counts)
