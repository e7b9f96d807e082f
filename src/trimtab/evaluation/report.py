"""The report of a comparison, from its folder alone: every row's figures, how its judges agree."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, groupby
from pathlib import Path
from typing import Any, final

import numpy as np
from scipy.stats import spearmanr

from trimtab.errors import InvalidData
from trimtab.evaluation.judge_quality import read_seen
from trimtab.evaluation.judges import Judge
from trimtab.evaluation.metrics import Ratio, control_figures, fluency_figure, text_figures
from trimtab.evaluation.readings import Read, Readings, judge_reader
from trimtab.evaluation.rows import SUFFIX, differences, read_row
from trimtab.evaluation.tasks import Task, find_task
from trimtab.evaluation.timing import read_times

OF_A_ROW = {"prompts", "prompts_digest", "prompts_count", "direction", "method", "beta", "rewards", "drafts", "search"}
FLUENCY, PROFILE = "perplexity:", "profile:"


@final
@dataclass(frozen=True)
class RowTexts:
    """The texts of a row.

    Attributes:
        name: of its file.
        settings: from its first line.
        texts: of whole prompts, [prompts][samples].
    """

    name: str
    settings: Mapping[str, Any]
    texts: Sequence[Sequence[Mapping[str, Any]]]

    @property
    def flat(self) -> list[Mapping[str, Any]]:
        """All texts in their order."""
        return [text for of_prompt in self.texts for text in of_prompt]

    def shaped(self, readings: Sequence[Sequence[float]]) -> np.ndarray:
        """Readings of all texts as [prompts, samples, values]."""
        return np.array(readings, dtype=float).reshape(len(self.texts), int(self.settings["samples"]), -1)


@final
@dataclass(frozen=True)
class RowFigures:
    """The figures of a row.

    Attributes:
        row: its texts.
        control: for each judge, what its scores say.
        figures: of the texts themselves.
        time: beside top-k sampling, where it was measured.
        profile: mean reward after each tenth of the continuations, where it was read.
    """

    row: RowTexts
    control: dict[str, dict[str, Ratio]]
    figures: dict[str, Ratio]
    time: Mapping[str, Any] = field(default_factory=dict)
    profile: Sequence[float] = ()


@final
@dataclass(frozen=True)
class Report:
    """A comparison, measured.

    Attributes:
        task: what it is about.
        settings: what all rows share.
        judges: their names, the first one's figures in the table and the plots.
        rows: by prompt set, then method, then β.
        agreement: for each pair of judges, over all texts: Spearman's ρ, and the share of texts with the same verdict.
        faults: for each judge, why it failed on texts.
        seen: how judges agree with scores that came with a data set, where that was measured.
        lens: the reward of the rows' profiles; empty where there are none.
    """

    task: Task
    settings: Mapping[str, Any]
    judges: Sequence[str]
    rows: Sequence[RowFigures]
    agreement: Mapping[str, Mapping[str, float]]
    faults: Mapping[str, Sequence[str]]
    seen: Mapping[str, Any]
    lens: str

    def by_set(self) -> list[tuple[tuple[str, str], list[RowFigures]]]:
        """The rows of each prompt set and direction."""

        def of(row: RowFigures) -> tuple[str, str]:
            return row.row.settings["prompts"], row.row.settings["direction"]

        return [(key, list(group)) for key, group in groupby(self.rows, key=of)]


def read_rows(folder: Path) -> list[RowTexts]:
    """The rows of a comparison, in the order of the table.

    Raises:
        InvalidData: none there, one is damaged, or they do not belong together.
    """
    if not folder.is_dir():
        raise InvalidData(f"got {str(folder)!r}, expected the folder of a comparison: there is no such folder")
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    if not paths:
        raise InvalidData(f"got {str(folder)!r}, expected the folder of a comparison: it has no rows")
    rows = [_whole_prompts(path) for path in paths]
    shared = _shared(rows[0])
    for row in rows[1:]:
        if differing := differences(shared, _shared(row)):
            raise InvalidData(f"{rows[0].name!r} and {row.name!r} do not belong together ({differing})")
    digests: dict[str, str] = {}
    for row in rows:
        if (
            digests.setdefault(row.settings["prompts"], row.settings["prompts_digest"])
            != row.settings["prompts_digest"]
        ):
            raise InvalidData(f"{row.name!r} answers other prompts than the other rows of {row.settings['prompts']!r}")
    return sorted((row for row in rows if row.texts), key=_order)


def measure(
    folder: Path,
    judges: Sequence[Judge],
    readers: Mapping[str, Read] | None = None,
    progress: Any = lambda done, total: None,
) -> Report:
    """Measure a comparison.

    Args:
        folder: its texts, and what was read in them before.
        judges: read what is not yet read; with none, the report uses what is kept.
        readers: others, by name: `perplexity:MODEL`, and `profile:REWARD` for the first sample of each prompt.
        progress: called with the readings done and the readings in all.
    """
    rows = read_rows(folder)
    task = find_task(rows[0].settings["task"])
    kept = Readings(folder)
    given = {judge.name: {"threshold": judge.threshold, "place": place} for place, judge in enumerate(judges)}
    about = {**given, **{name: of for name, of in kept.readers().items() if name not in given}}
    reads = {judge.name: judge_reader(judge, task) for judge in judges} | dict(readers or {})
    found: dict[tuple[str, str], np.ndarray] = {}
    names = list(dict.fromkeys([*about, *reads]))
    for number, (row, reader) in enumerate((row, reader) for row in rows for reader in names):
        texts = [of[0] for of in row.texts] if reader.startswith(PROFILE) else row.flat
        values = kept.of(row.name, reader, texts, reads.get(reader), about.get(reader))
        found[row.name, reader] = np.array(values) if reader.startswith(PROFILE) else row.shaped(values)
        progress(number + 1, len(rows) * len(names))
    thresholds = {name: of["threshold"] for name, of in about.items() if "threshold" in of}
    everything = {name: np.concatenate([found[row.name, name].ravel() for row in rows]) for name in thresholds}
    times = read_times(folder)
    return Report(
        task,
        _shared(rows[0]),
        list(thresholds),
        [_figures(row, names, found, thresholds, times) for row in rows],
        agreement(everything, thresholds),
        {name: [fault for row in rows for fault in kept.faults(row.name, name)] for name in thresholds},
        read_seen(folder),
        next((name.removeprefix(PROFILE) for name in names if name.startswith(PROFILE)), ""),
    )


def agreement(scores: Mapping[str, np.ndarray], thresholds: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """How each pair of judges agrees: Spearman's ρ of their scores, the share of texts with the same verdict."""
    found = {}
    for one, other in combinations(scores, 2):
        both = ~np.isnan(scores[one]) & ~np.isnan(scores[other])
        first, second = scores[one][both], scores[other][both]
        varied = len(first) > 1 and np.ptp(first) > 0 and np.ptp(second) > 0
        found[f"{one} ~ {other}"] = {
            "spearman": float(spearmanr(first, second).statistic) if varied else math.nan,
            "same verdict": float(((first >= thresholds[one]) == (second >= thresholds[other])).mean())
            if len(first)
            else math.nan,
            "texts": float(both.sum()),
        }
    return found


def _figures(
    row: RowTexts,
    readers: Sequence[str],
    found: Mapping[tuple[str, str], np.ndarray],
    thresholds: Mapping[str, float],
    times: Mapping[str, Any],
) -> RowFigures:
    control = {judge: control_figures(found[row.name, judge][..., -1], of) for judge, of in thresholds.items()}
    figures = text_figures(row.texts)
    figures |= {r: fluency_figure(found[row.name, r]) for r in readers if r.startswith(FLUENCY)}
    profile = next((found[row.name, reader] for reader in readers if reader.startswith(PROFILE)), np.empty((0, 0)))
    known = profile[~np.isnan(profile).any(1)] if len(profile) else profile
    means = known.mean(0).tolist() if len(known) else []
    return RowFigures(row, control, figures, times.get(row.settings["method"], {}), means)


def _whole_prompts(path: Path) -> RowTexts:
    settings, lines = read_row(path)
    by_prompt = [list(group) for _, group in groupby(lines, key=lambda line: line["place"])]
    whole = [of_prompt for of_prompt in by_prompt if len(of_prompt) == settings["samples"]]
    return RowTexts(path.stem, settings, whole)


def _shared(row: RowTexts) -> dict[str, Any]:
    return {name: value for name, value in row.settings.items() if name not in OF_A_ROW}


def _order(row: RowTexts) -> tuple[Any, ...]:
    settings = row.settings
    kinds = {"unsteered": 0, "top-k": 1, "greedy": 2}
    searched = 5 if settings.get("search") else 3
    kind = kinds.get(settings["method"], 4 if settings.get("drafts") else searched)
    return (
        settings["direction"] != "up",
        settings["prompts"],
        kind,
        settings.get("drafts") or 0,
        [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", settings["method"])],  # rank-4, rank-16
        settings["beta"] or 0,
    )
