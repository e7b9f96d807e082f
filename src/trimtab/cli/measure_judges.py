"""`trimtab evaluate judges`: measure judges on scored texts."""

from pathlib import Path
from typing import Annotated, Any

import typer

from trimtab.cli.console import legible, output_console, report_faults
from trimtab.cli.dataclass_options import expands
from trimtab.cli.options import Split, TextColumn
from trimtab.cli.train_options import LabelRange


@expands
def judges(
    data: Annotated[str, typer.Option(help="Table or Hub data set of texts with scores or labels.")],
    judge: Annotated[
        list[str],
        typer.Option(
            help="Judge to measure: vader, profanity, onnx:FOLDER, reward:NAME[:ATTRIBUTE], or a text-classification "
            "model as ID:LABEL. Repeat for several."
        ),
    ],
    task: Annotated[
        str, typer.Option(help="toxicity, sentiment or prompts: selects a classifier's label if none is named.")
    ] = "toxicity",
    text_column: TextColumn = "text",
    column: Annotated[str, typer.Option(help="Column of the score.")] = "label",
    label_range: LabelRange = None,
    split: Split = "train",
    limit: Annotated[int | None, typer.Option(help="Maximum number of texts, from the first. Default: all.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of a comparison whose report shows the figures. Default: print only.")
    ] = None,
) -> None:
    """Measure judges on scored texts: Spearman's ρ, and AUC and accuracy for scores of at least ½ on a scale of 0 to 1.

    Example: trimtab evaluate judges --data rtp.jsonl --text-column continuation --column continuation_toxicity
    --judge profanity --out runs/toxicity
    """
    from trimtab.cli.sweep_command import load_judges
    from trimtab.data.label_values import check_label_range
    from trimtab.data.tables import hash_of_file, read_labelled
    from trimtab.evaluation.agreement_file import check_agreement_folder, save_agreement
    from trimtab.evaluation.checks import check_at_least
    from trimtab.evaluation.score.judge_specs import check_judges
    from trimtab.evaluation.tasks import find_task
    from trimtab.versions import versions

    labels = find_task(task).labels
    check_at_least(1, limit=limit)
    check_label_range(label_range)
    check_agreement_folder(out, "--out")
    check_judges(judge)
    table = read_labelled(data, [column], text_column, split, label_range)
    report_faults(data, table.faults)
    loaded = load_judges(judge, labels)
    from trimtab.evaluation.score.judge_agreement import measure_judges

    found = measure_judges(loaded, table.rows[:limit])
    output_console().print(agreement_table(found))
    if out:
        made_by = {**versions(), "data_sha256": hash_of_file(data), "label_range": label_range}
        source = f"{Path(data).name.partition('.')[0]} ({column})"
        save_agreement(out, source, {name: {**of, "made_by": made_by} for name, of in found.items()})


def agreement_table(found: dict[str, dict[str, Any]]) -> Any:
    """Return a table of the figures of `measure_judges`."""
    from rich.table import Table
    from rich.text import Text

    table = Table("judge", "Spearman", "AUC at ½", "accuracy", "texts", "failed")
    for name, of in found.items():
        figures = (f"{of[figure]:.3f}" for figure in ("spearman", "auc", "accuracy"))
        table.add_row(Text(legible(name)), *figures, str(of["texts"]), str(of["failed"]))
    return table
