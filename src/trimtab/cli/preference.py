"""`trimtab evaluate preference`: measure rewards and judges on preferences."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.cli.console import error_console, legible, loading, output_console, report_faults
from trimtab.cli.dataclass_options import expands
from trimtab.cli.judges import JudgeChat, Soft, check_judges
from trimtab.cli.options import DtypeOption, Force, Split
from trimtab.cli.preference_scorers import JudgeModel, Scorer, reward_scorer
from trimtab.errors import InvalidSetting

if TYPE_CHECKING:
    from trimtab.data.preferences import Comparison
    from trimtab.data.tables import Table
    from trimtab.evaluation.run.prompt_sets import Direction
    from trimtab.evaluation.score.metrics import Ratio

TEMPLATE = "{prompt}\n\n{answer}"


@expands
def preference(
    data: Annotated[
        list[str],
        typer.Option(
            help="Table or Hub data set of preferences: columns chosen and rejected, or the layout of RM-Bench, "
            "RewardBench or LLMBar. Repeat for several."
        ),
    ],
    reward: Annotated[
        list[str] | None, typer.Option(help="Reward to measure, as NAME[:ATTRIBUTE]. Repeat to compare.")
    ] = None,
    down: Annotated[
        bool, typer.Option("--down", help="The better answer should have the lower --reward, as with toxicity.")
    ] = False,
    judge: Annotated[
        list[str] | None,
        typer.Option(
            help="Judge to measure, as in rewind --judge: self[:QUESTION], or NAME=-1 or NAME=+1 of a classifier. "
            "Repeat to compare."
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="The language model that self-judges ask.")] = "smollm2",
    dtype: DtypeOption = "auto",
    judge_chat: JudgeChat = False,
    judge_soft: Soft = False,
    template: Annotated[
        str,
        typer.Option(
            help="Text of a prompt and an answer, with the places {prompt} and {answer}. A self-judge reads the two."
        ),
    ] = TEMPLATE,
    chosen_column: Annotated[str, typer.Option(help="Column of the better answer.")] = "chosen",
    rejected_column: Annotated[str, typer.Option(help="Column of the worse answer.")] = "rejected",
    split: Split = "train",
    limit: Annotated[
        int | None, typer.Option(help="Maximum number of comparisons per data set, from the first. Default: all.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File for the figures as JSON. Default: print only.")] = None,
    force: Force = False,
) -> None:
    """Measure rewards and judges on preferences: how often the better answer has the strictly higher score.

    Example: trimtab evaluate preference --data paradetox_dev.jsonl --reward toxicity --down --judge profanity=-1
    """
    from trimtab.data.json_text import dump_json
    from trimtab.data.outputs import check_output, write_whole
    from trimtab.data.preferences import read_preferences
    from trimtab.evaluation.checks import check_at_least, check_different, check_template
    from trimtab.evaluation.score.judge_specs import check_reward

    target = check_output(out, "--out", [Path(source) for source in data], force) if out else None
    check_template(template)
    check_at_least(1, limit=limit)
    rewards, judges = reward or [], JudgeModel(judge or [], model, dtype, judge_chat, judge_soft)
    if not rewards and not judges.judges:
        raise InvalidSetting("got neither --reward nor --judge, expected what is to be measured")
    if down and not rewards:
        raise InvalidSetting("got --down, expected --reward with it: the sign of a judge tells what is good")
    check_judges(judges.judges, judge_chat, judge_soft)
    check_different("reward or judge", [*rewards, *judges.judges])
    check_different("data set", [name_of(source) for source in data])
    for spec in rewards:
        check_reward(spec)
    tables = {source: read_preferences(source, split, chosen_column, rejected_column) for source in data}
    early = judges.early()
    way: Direction = "down" if down else "up"
    with loading("rewards"):
        scorers = {spec: reward_scorer(spec, way) for spec in rewards}
    scorers |= judges.scorers(early)
    found = {name_of(source): measure_all(name_of(source), tables[source], scorers, template, limit) for source in data}
    print_figures(found, {name_of(source): len(tables[source].rows[:limit]) for source in data}, list(scorers))
    if target:
        made_by = origin(scorers, tables, template, limit)
        write_whole(target, dump_json({"made_by": made_by, "figures": entries(found)}, indent=1) + "\n")


def name_of(source: str) -> str:
    """Return the name of a data set: that of its file, without suffixes."""
    return Path(source).name.partition(".")[0]


def measure_all(
    data: str, table: "Table[Comparison]", scorers: dict[str, Scorer], template: str, limit: int | None
) -> "dict[str, dict[str, Ratio]]":
    """Return the accuracies of every reward and judge on one data set."""
    report_faults(data, table.faults)
    return {
        spec: measure_preferences(scorer, table.rows[:limit], template, (data, spec))
        for spec, scorer in scorers.items()
    }


def measure_preferences(
    scorer: Scorer, comparisons: "Sequence[Comparison]", template: str, names: tuple[str, str]
) -> "dict[str, Ratio]":
    """Return the accuracies of one reward or judge on one data set, with a progress bar; `names` are those of both."""
    from rich.markup import escape

    from trimtab.cli.progress import counting
    from trimtab.evaluation.score.preference_accuracy import accuracy_figures

    console, (data, name) = error_console(), map(legible, names)
    with counting(escape(f"{data}, {name}"), console) as progress:
        scores, cut = scorer.score(comparisons, template, progress)
    if cut:
        console.print(f"{data}: {cut} texts were cut to fit the context of {name}", markup=False)
    return accuracy_figures(comparisons, scores)


def print_figures(
    found: "dict[str, dict[str, dict[str, Ratio]]]", counts: dict[str, int], names: Sequence[str]
) -> None:
    """Print a table with a row for each figure and a column for each reward and judge."""
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    table = Table("data", "comparisons", "figure", *(escape(legible(spec)) for spec in names))
    for data, columns in found.items():
        for figure in next(iter(columns.values())):
            cells = (f"{of[figure].value:.3f}" for of in columns.values())
            table.add_row(Text(legible(data)), str(counts[data]), Text(legible(figure)), *cells)
    output_console().print(table)


def entries(found: "dict[str, dict[str, dict[str, Ratio]]]") -> dict[str, Any]:
    """Return the figures with their intervals, ready for JSON."""
    from trimtab.evaluation.report.record import figure_entry

    return {
        data: {spec: {figure: figure_entry(ratio) for figure, ratio in of.items()} for spec, of in columns.items()}
        for data, columns in found.items()
    }


def origin(
    scorers: dict[str, Scorer], tables: "dict[str, Table[Comparison]]", template: str, limit: int | None
) -> dict[str, Any]:
    """Return what made the figures: versions, rewards and judges, and data."""
    from trimtab.data.tables import hash_of_file
    from trimtab.versions import versions

    made_of = {spec: scorer.made_of for spec, scorer in scorers.items()}
    data = {
        name_of(source): {"sha256": hash_of_file(source), "comparisons": len(table.rows[:limit])}
        for source, table in tables.items()
    }
    return {**versions(), "scorers": made_of, "data": data, "template": template}
