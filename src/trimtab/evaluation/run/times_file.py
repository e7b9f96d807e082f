"""The times of a comparison's methods, saved in its folder with the settings that they were measured with."""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from trimtab.data.differences import differences
from trimtab.data.files import read_record
from trimtab.data.json_text import dump_json, parse_json
from trimtab.errors import InvalidData
from trimtab.evaluation.checks import holding, write_in
from trimtab.evaluation.run.row_file import LATER, UNSAID
from trimtab.language_model import LanguageModel
from trimtab.versions import versions

TIMES_FILE = "times.json"
FIGURES = ("ratio", "tokens_per_second")
SETTINGS = "settings"  # of the rows that a time belongs to; times of older versions lack them
OF_A_ROW = {"prompts", "prompts_digest", "prompts_count", "direction", "method", "beta"}  # and not of its time
Times = Mapping[str, Mapping[str, Any]]


def time_name(method: str, searches: bool, beta: float | None) -> str:
    """The name of a row's time: β does not change the time of a method, but steering changes that of a search."""
    return f"{method}, steered" if searches and beta else method


def time_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a row's settings that decide its time, as JSON has them."""
    found: dict[str, Any] = parse_json(dump_json({k: v for k, v in settings.items() if k not in OF_A_ROW}))
    return found


def save_times(folder: Path, times: Times, lm: LanguageModel, about: Mapping[str, Any]) -> None:
    """Save times in the folder of a comparison; those of other methods stay.

    Args:
        folder: the folder.
        times: by name; with `settings`, the time is shown only beside rows of these settings.
        lm: the language model.
        about: how they were measured. The machine and the versions are added.
    """
    record = {**_machine(lm), **versions(), **about}
    found = {name: {**of_method, "about": record} for name, of_method in times.items()}
    with holding(folder, TIMES_FILE):
        write_in(folder, TIMES_FILE, dump_json(read_times(folder) | found, indent=1) + "\n")


def read_times(folder: Path) -> dict[str, Any]:
    """The saved times of a comparison, by name.

    Raises:
        InvalidData: the file is damaged.
    """
    record = read_record(folder / TIMES_FILE, nan_is_null=True)
    for name, times in record.items():
        if not _is_time(times):
            raise InvalidData(
                f"the times of {name!r} in {str(folder / TIMES_FILE)!r} are damaged; remove the file, "
                "and they are measured again"
            )
    return record


def times_of_rows(folder: Path, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The saved time of each row; empty if none was measured with its settings.

    Older versions had one time for a search and the same search while steering. It belongs to either, and is left out
    where a comparison has both.

    Args:
        folder: the folder of the comparison.
        rows: the settings of its rows.

    Raises:
        InvalidData: the file is damaged.
    """
    steered = {row["method"] for row in rows if _name_of(row) != row["method"]}
    times = {name: of for name, of in read_times(folder).items() if SETTINGS in of or name not in steered}
    found = [(times.get(_name_of(row), {}), time_settings(row)) for row in rows]
    return [
        {name: value for name, value in time.items() if name != SETTINGS} if _belongs(time, settings) else {}
        for time, settings in found
    ]


def _name_of(row: Mapping[str, Any]) -> str:
    return time_name(row["method"], bool(row.get("search")), row["beta"])


def _belongs(time: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    return SETTINGS not in time or not differences({**UNSAID, **time[SETTINGS]}, {**UNSAID, **settings}, later=LATER)


def _machine(lm: LanguageModel) -> dict[str, Any]:
    base = lm.engine.base
    on_gpu = base is not None and base.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(base.device) if base and on_gpu else lm.engine.describe()["device"],
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
    }


def _is_time(times: Any) -> bool:
    return (
        isinstance(times, dict)
        and all(type(times.get(name)) in (int, float) for name in FIGURES)
        and type(times.get("reward_share", "")) in (int, float, type(None))
        and isinstance(times.get(SETTINGS, {}), dict)
    )
