"""The schema of report.json."""

from collections.abc import Mapping
from typing import Any

from trimtab.evaluation.agreement_file import are_figures
from trimtab.evaluation.run.row_schema import LARGEST, settings_fault
from trimtab.evaluation.tasks import TASKS

RECORD: dict[str, type] = {
    "task": str,
    "settings": dict,
    "judges": list,
    "agreement": dict,
    "at_equal_perplexity": dict,
    "agreement_with_data": dict,
    "faults": dict,
    "rows": list,
}
LATER: dict[str, type] = {"measured_by": dict, "unread": dict, "profiled": str}  # reports of older versions lack these
ROW: dict[str, type] = {"prompts_done": int, "judges": dict, "figures": dict, "time": dict, "profile": list}
AGREEMENT = ("spearman", "same verdict", "texts")
TIME = ("ratio", "tokens_per_second")


def record_fault(record: Mapping[str, Any]) -> str:
    """Return what is wrong with the record of a report; empty if nothing is."""
    for name, kind in RECORD.items():
        if not isinstance(record.get(name), kind):
            return f"no {name!r} of the right type"
    for name, kind in LATER.items():
        if not isinstance(record.get(name, kind()), kind):
            return f"{name!r} has another type"
    if not all(isinstance(judge, str) for judge in record["judges"]):
        return "'judges' are no names"
    if record["task"] not in TASKS:
        return f"the task {record['task']!r} is none of {', '.join(TASKS)}"
    if not record["rows"]:
        return "it has no rows"
    for number, row in enumerate(record["rows"], start=1):
        if fault := _row_fault(row, record):
            return f"row {number}: {fault}"
    return _table_fault(record)


def _row_fault(row: Any, record: Mapping[str, Any]) -> str:
    if not isinstance(row, dict):
        return "it is no record"
    if fault := settings_fault({**record["settings"], **row}):
        return fault
    for name, kind in ROW.items():
        if not isinstance(row.get(name), kind):
            return f"no {name!r} of the right type"
    if not all(isinstance(row["judges"].get(judge), dict) for judge in record["judges"]):
        return "it lacks the figures of a judge"
    entries = [entry for of in (row["figures"], *row["judges"].values()) for entry in of.values()]
    if not all(map(_is_entry, entries)) or "perplexity" not in row["figures"]:
        return "it has a figure without value and interval"
    if row["time"] and not (all(_is_number(row["time"].get(name)) for name in TIME) and _is_share(row["time"])):
        return "its 'time' has other figures"
    if not isinstance(row["time"].get("about", {}), dict) or not all(map(_is_number, row["profile"])):
        return "its 'time' or 'profile' has other types"
    rewards = row.get("rewards", [])
    if not isinstance(rewards, list) or not all(map(_is_reward, rewards)):
        return "its 'rewards' are no list of names and fingerprints"
    makers = row.get("made_by", [])
    if not isinstance(makers, list) or not all(map(_is_maker, makers)):
        return "its 'made_by' is no list of records"
    return ""


def _table_fault(record: Mapping[str, Any]) -> str:
    multiples = record["at_equal_perplexity"].get("over_top_k", [])
    if not isinstance(multiples, list) or not all(map(_is_number, multiples)):
        return "'at_equal_perplexity' has other types"
    levels = [of for name, of in record["at_equal_perplexity"].items() if name != "over_top_k"]
    if not all(isinstance(of, dict) and all(map(_are_levels, of.values())) for of in levels):
        return "'at_equal_perplexity' has other types"
    agreement = [*record["agreement"].values()]
    if not all(isinstance(of, dict) and all(_is_entry_of(of, name) for name in AGREEMENT) for of in agreement):
        return "'agreement' has other types"
    if not all(map(are_figures, record["agreement_with_data"].values())):
        return "'agreement_with_data' has other types"
    if not all(isinstance(of, list) for of in record["faults"].values()):
        return "'faults' has other types"
    readers = record.get("measured_by", {}).get("readers", {})
    if not isinstance(readers, dict) or not all(isinstance(of, dict) for of in readers.values()):
        return "'measured_by' has other types"
    return ""


def _are_levels(levels: Any) -> bool:
    return isinstance(levels, list) and all(
        level is None or (isinstance(level, list) and len(level) == 3 and all(map(_is_number, level)))
        for level in levels
    )


def _is_entry_of(of: Mapping[str, Any], name: str) -> bool:
    return name in of and (of[name] is None or _is_number(of[name]))


def _is_reward(reward: Any) -> bool:
    """Whether an entry is a list that starts with a name."""
    return isinstance(reward, list) and bool(reward) and isinstance(reward[0], str)


def _is_maker(maker: Any) -> bool:
    return isinstance(maker, dict) and isinstance(maker.get("data", {}), dict)


def _is_entry(entry: Any) -> bool:
    numbers = [entry.get(name, "") for name in ("value", "low", "high")] if isinstance(entry, dict) else [""]
    return all(number is None or _is_number(number) for number in numbers)


def _is_share(times: Mapping[str, Any]) -> bool:
    """Whether the share of the rewards is a number, or None: the engine does not tell."""
    share = times.get("reward_share", "")
    return share is None or _is_number(share)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < LARGEST
