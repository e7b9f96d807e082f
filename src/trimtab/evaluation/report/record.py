"""The record of a report: all of its figures as JSON. Tables and plots are made of the record alone."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.data.json_text import dump_json, parse_json
from trimtab.evaluation.report.collect import Report, RowFigures
from trimtab.evaluation.run.methods import GREEDY
from trimtab.evaluation.score.metrics import FRONTIER_LEVELS, Level, Point, Ratio, at_equal_perplexity
from trimtab.versions import versions


def as_record(report: Report) -> dict[str, Any]:
    """Every figure of every row with its interval, what made the texts, and what measured them; ready for JSON."""
    rows = [
        {
            **{name: value for name, value in row.row.settings.items() if name not in report.settings},
            "made_by": list(row.row.made_by),
            "prompts_done": len(row.row.texts),
            "judges": {judge: {name: figure_entry(r) for name, r in of.items()} for judge, of in row.control.items()},
            "figures": {name: figure_entry(ratio) for name, ratio in row.figures.items()},
            "time": dict(row.time),
            "profile": list(row.profile),
        }
        for row in report.rows
    ]
    frontiers = {f"{name}, {way}": equal_perplexity(report, of) for (name, way), of in report.by_set()}
    record = {
        "task": report.task.name,
        "settings": dict(report.settings),
        "judges": list(report.judges),
        "measured_by": {**versions(), "readers": dict(report.identities)},
        "agreement": report.agreement,
        "at_equal_perplexity": {"over_top_k": FRONTIER_LEVELS, **frontiers},
        "agreement_with_data": report.data_agreement,
        "faults": {judge: list(faults) for judge, faults in report.faults.items()},
        "unread": unread(report),
        "profiled": report.profiled,
        "rows": rows,
    }
    found: dict[str, Any] = parse_json(dump_json(record))
    return found


def equal_perplexity(report: Report, rows: Sequence[RowFigures]) -> dict[str, list[Level]]:
    """The control of the steered methods of one prompt set at the same multiples of top-k sampling's perplexity."""
    if not report.judges:
        return {}
    points = {
        id(row): (row.figures["perplexity"], row.control[report.judges[0]][report.task.figures[0]]) for row in rows
    }
    start = next((row for row in rows if row.row.settings["method"] == "top-k"), None)
    if start is None or len(start.row.texts) < start.row.settings["prompts_count"]:
        return {}
    curves: dict[str, list[Point]] = {}
    for row in rows:
        if starts_at_top_k(row.row.settings) and len(row.row.texts) == len(start.row.texts):
            curves.setdefault(row.row.settings["method"], []).append(points[id(row)])
    return at_equal_perplexity(points[id(start)], curves)


def starts_at_top_k(settings: Mapping[str, Any]) -> bool:
    """Whether top-k sampling is a row's β = 0. That of a search is the unsteered search, that of ARGS is greedy."""
    steered = bool(settings.get("beta")) and not settings.get("search")
    return steered and not str(settings["method"]).endswith(GREEDY)


def unread(report: Report) -> dict[str, int]:
    """For each judge, the texts that it has not read, because it was named for earlier rows only."""
    missing = {
        judge: int(sum(row.control[judge]["failed"].over.sum() for row in report.rows) - len(report.faults[judge]))
        for judge in report.judges
    }
    return {judge: count for judge, count in missing.items() if count}


def figure_entry(ratio: Ratio) -> dict[str, float | None]:
    """A figure with its interval, ready for JSON; None for a number that is not finite."""
    low, high = ratio.interval()
    numbers = {"value": ratio.value, "low": low, "high": high}
    return {name: number if math.isfinite(number) else None for name, number in numbers.items()}
