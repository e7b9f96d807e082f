"""The report: a JSON file, and a table."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from torture.cli_cases import Result

SLOW = 4.0  # seconds after which a refusal counts as slow


def summarize(results: Sequence[Result]) -> dict[str, Any]:
    """Counts of a part."""
    refused = [each for each in results if each.why is None]
    kinds = Counter(fault.partition(":")[0] for each in results for fault in each.faults)
    slowest = max(refused, key=lambda each: each.ended.seconds, default=None)
    return {
        "cases": len(results),
        "refused": sum(each.ended.code != 0 for each in refused),
        "accepted with a reason": sum(each.why is not None and each.ended.code == 0 for each in results),
        "cases with faults": sum(bool(each.faults) for each in results),
        "faults": dict(kinds.most_common()),
        "slowest refusal": slowest and [slowest.ended.seconds, slowest.name],
        "slow refusals": sum(each.ended.seconds > SLOW for each in refused),
        "weights read before a refusal": sum(bool(each.ended.loads) for each in refused),
    }


def write_report(path: Path, parts: dict[str, Sequence[Result]]) -> None:
    """Write all results as JSON."""
    record = {name: {**summarize(of), "results": [each.as_dict() for each in of]} for name, of in parts.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1), encoding="utf-8")


def print_report(parts: dict[str, Sequence[Result]]) -> None:
    """Print a table of the counts. The faults were printed when they were found."""
    console = Console(width=200, highlight=False)
    columns = list(summarize([]))
    table = Table("part", *columns)
    for name, results in parts.items():
        counts = summarize(results)
        table.add_row(name, *(str(counts[column])[:60] for column in columns))
    console.print(table)
