"""Write all files of a report."""

from collections.abc import Sequence
from pathlib import Path

from trimtab.evaluation.report.formats import DEFAULT_FORMATS
from trimtab.evaluation.report.latex import write_latex
from trimtab.evaluation.report.markdown import write_markdown
from trimtab.evaluation.report.plots import Plots
from trimtab.evaluation.report.record_file import Record, write_record


def write_report_files(record: Record, folder: Path, formats: Sequence[str] = DEFAULT_FORMATS, title: str = "") -> None:
    """Write report.json, report.md, report.tex and the plots.

    Args:
        record: the figures.
        folder: the folder of the comparison.
        formats: the formats of the plots.
        title: of the report, its plots and its tables; default: what each shows.

    Raises:
        InvalidSetting: matplotlib is not installed.
    """
    pictures = Plots(record, folder, formats, title).draw()
    write_record(record, folder)
    write_latex(record, folder, title)
    write_markdown(record, folder, pictures, title)
