"""The files of a report in the folder of a comparison: which ones may be replaced. No torch here."""

from collections.abc import Sequence
from pathlib import Path

from trimtab.data.outputs import check_folder
from trimtab.errors import InvalidData
from trimtab.evaluation.checks import check_files
from trimtab.evaluation.report.record_file import REPORT_FILE, read_report
from trimtab.evaluation.run.row_file import SUFFIX, is_row

WRITTEN = (REPORT_FILE, "report.md", "report.tex", "times.json")
PLOTS = ("pareto-*", "time", "profile")


def check_report_folder(folder: Path, option: str, formats: Sequence[str], force: bool = False) -> None:
    """Check that a report can be written, and that it replaces nothing but another report.

    Args:
        folder: the folder of a comparison, or one for a new comparison.
        option: the option that names it, for messages.
        formats: the formats of the plots.
        force: replace other files too.

    Raises:
        InvalidOutput: the folder is a file, it may not be written, or it has a file of another origin.
    """
    check_folder(folder, option)
    plots = [path.name for plot in PLOTS for kind in formats for path in folder.glob(f"{plot}.{kind}")]
    check_files(folder, [*WRITTEN, *plots], option, force or _is_ours(folder))


def _is_ours(folder: Path) -> bool:
    """Whether the folder has a row, or a report."""
    if any(map(is_row, folder.glob(f"*{SUFFIX}"))):
        return True
    try:
        return bool(read_report(folder))
    except InvalidData:
        return False
