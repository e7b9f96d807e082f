"""The figures of a comparison, from its folder alone."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, final

import numpy as np

from trimtab.checking import checked, checked_except
from trimtab.data.differences import differences
from trimtab.engines.base import Engine
from trimtab.errors import InvalidData
from trimtab.evaluation.agreement_file import read_agreement
from trimtab.evaluation.prompt_form import PromptForm
from trimtab.evaluation.run.row_file import (
    CARDS,
    LATER,
    REWARDS,
    UNSAID,
    check_one_reward,
    read_row,
    row_name,
    row_paths,
)
from trimtab.evaluation.run.times_file import times_of_rows
from trimtab.evaluation.score.judge_agreement import agreement
from trimtab.evaluation.score.metrics import Ratio, control_figures, fluency_figure, text_figures
from trimtab.evaluation.score.readers import MESSAGES, Read, judge_reader
from trimtab.evaluation.score.readings import Readings
from trimtab.evaluation.tasks import FLUENCY, PROFILE, Task, find_task
from trimtab.judges.base import Judge, description_of, threshold_of

OF_A_ROW = {"prompts", "prompts_digest", "prompts_count", "direction"}
OF_A_ROW |= {"method", "beta", "max_kl", REWARDS, CARDS, "drafts", "block", "halve_every", "accept_at", "search"}
Found = dict[tuple[str, str], np.ndarray]  # readings by row and reader


@final
@dataclass(frozen=True)
class RowTexts:
    """The texts of a row.

    Attributes:
        name: the name of its file, without suffix.
        settings: the file's first line.
        texts: the texts of finished prompts, [prompts][samples]. Where prompts are conversations, each has `messages`.
        made_by: what wrote them; empty if an older version did.
    """

    name: str
    settings: Mapping[str, Any]
    texts: Sequence[Sequence[Mapping[str, Any]]]
    made_by: Sequence[Mapping[str, Any]] = ()

    @property
    def flat(self) -> list[Mapping[str, Any]]:
        """All texts in order."""
        return [text for of_prompt in self.texts for text in of_prompt]

    def shaped(self, readings: Sequence[Sequence[float]]) -> np.ndarray:
        """Readings of all texts as [prompts, samples, values]."""
        return np.array(readings, dtype=float).reshape(len(self.texts), int(self.settings["samples"]), -1)


@final
@dataclass(frozen=True)
class RowFigures:
    """The figures of a row.

    Attributes:
        row: the texts.
        control: for each judge, the figures of its scores.
        figures: the figures of the texts themselves.
        time: the times of its method; empty if they were not measured.
        profile: the mean reward after each tenth of the continuations; empty if it was not read.
    """

    row: RowTexts
    control: dict[str, dict[str, Ratio]]
    figures: dict[str, Ratio]
    time: Mapping[str, Any] = field(default_factory=dict)
    profile: Sequence[float] = ()


@final
@dataclass(frozen=True)
class Report:
    """The figures of a comparison.

    Attributes:
        task: the task.
        settings: the settings that all rows share.
        judges: the names of the judges; the first one is plotted.
        rows: the rows by prompt set, then method, then β.
        agreement: for each pair of judges, how they agree over all texts.
        faults: for each judge, why it failed on texts.
        data_agreement: for each data set and judge, how the judge agrees with the labels of the data set.
        profiled: the reward of the rows' profiles; empty if there are none.
        identities: for each reader, the version or the hash of what it is made of; readers without one are left out.
    """

    task: Task
    settings: Mapping[str, Any]
    judges: Sequence[str]
    rows: Sequence[RowFigures]
    agreement: Mapping[str, Mapping[str, float]]
    faults: Mapping[str, Sequence[str]]
    data_agreement: Mapping[str, Any]
    profiled: str
    identities: Mapping[str, Any] = field(default_factory=dict)

    def by_set(self) -> list[tuple[tuple[str, str], list[RowFigures]]]:
        """The rows of each prompt set and direction."""

        def of(row: RowFigures) -> tuple[str, str]:
            return row.row.settings["prompts"], row.row.settings["direction"]

        return [(key, list(group)) for key, group in groupby(self.rows, key=of)]


@checked
def read_rows(folder: Path) -> list[RowTexts]:
    """Read the rows of a comparison, in the order of the table.

    Raises:
        InvalidData: there are none, one is damaged or has another row's name, or they have different settings or
            prompts, or two rewards have one name.
    """
    rows = [_whole_prompts(path) for path in row_paths(folder)]
    shared = _shared(rows[0])
    for row in rows[1:]:
        if differing := differences(UNSAID | shared, UNSAID | _shared(row), later=LATER):
            raise InvalidData(
                f"{rows[0].name!r} and {row.name!r} do not belong together ({differing}); move one elsewhere"
            )
        shared |= _shared(row)
    check_one_reward({row.name: row.settings for row in rows})
    digests: dict[str, str] = {}
    for row in rows:
        if row.name != row_name(row.settings):
            raise InvalidData(f"{row.name!r} holds the row {row_name(row.settings)!r}; give the file its name back")
        if (
            digests.setdefault(row.settings["prompts"], row.settings["prompts_digest"])
            != row.settings["prompts_digest"]
        ):
            raise InvalidData(
                f"{row.name!r} continues other prompts than the other rows of {row.settings['prompts']!r}; "
                "move one elsewhere"
            )
    return sorted((row for row in rows if row.texts), key=_order)


@checked_except("readers")
def measure(
    folder: Path,
    judges: Sequence[Judge],
    readers: Mapping[str, Read] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    engine: Engine | None = None,
    identities: Mapping[str, Mapping[str, str]] | None = None,
    keep_order: bool = False,
) -> Report:
    """Measure a comparison.

    Args:
        folder: the folder with its texts and its saved readings.
        judges: score the texts that they have not scored yet. Saved readings of other judges are used, too.
        readers: other readers by name: `perplexity:MODEL`, or `profile:REWARD`, which reads the first sample of each
            prompt.
        progress: called with the number of readings done, and of all readings.
        engine: the engine that wrote the texts, for judges that need it.
        identities: for each of the other readers, what it is made of, such as the fingerprint of its weights. Saved
            readings of a judge or reader that was made of something else are made again.
        keep_order: judges that have read texts come first, in their order; else those that are given. The first judge
            is the one that the report compares methods by.

    Raises:
        InvalidData: as in `read_rows`, or a file of readings or times is damaged.
        NonFiniteReward: a judge is a reward, and a score is NaN or infinite.
        InvalidSetting: a judge needs an engine, and there is none.
    """
    rows = read_rows(folder)
    if not rows:
        raise InvalidData(f"got {str(folder)!r}, expected a comparison with finished prompts; run its command again")
    task = find_task(rows[0].settings["task"])
    saved = Readings(folder)
    reads = {judge.name: judge_reader(judge, task, engine) for judge in judges} | dict(readers or {})
    given: dict[str, dict[str, Any]] = {
        judge.name: {"threshold": threshold_of(judge), "place": place, "identity": description_of(judge)}
        for place, judge in enumerate(judges)
    }
    given |= {name: {"identity": dict(of)} for name, of in (identities or {}).items()}
    others = saved.readers()
    about = _in_order(given, others) if keep_order else given | {n: of for n, of in others.items() if n not in given}
    names = list(dict.fromkeys([*(readers or {}), *about, *reads]))  # the first profile is the one that is shown
    found: Found = {}
    for number, (row, name) in enumerate((row, name) for row in rows for name in names):
        found[row.name, name] = _readings(row, name, saved, reads.get(name), about.get(name))
        progress(number + 1, len(rows) * len(names))
    thresholds = {name: of["threshold"] for name, of in about.items() if "threshold" in of}
    scores = {name: np.concatenate([found[row.name, name].ravel() for row in rows]) for name in thresholds}
    times = times_of_rows(folder, [row.settings for row in rows])
    return Report(
        task,
        _shared(rows[0]),
        list(thresholds),
        [_figures(row, names, found, thresholds, time) for row, time in zip(rows, times, strict=True)],
        agreement(scores, thresholds),
        {name: [fault for row in rows for fault in saved.faults(row.name, name, row.flat)] for name in thresholds},
        read_agreement(folder),
        next((name.removeprefix(PROFILE) for name in names if name.startswith(PROFILE)), ""),
        {name: about[name]["identity"] for name in names if "identity" in about.get(name, {})},
    )


def _in_order(given: Mapping[str, Mapping[str, Any]], saved: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What is known of readers: of those that have read texts, in their order, and then of the others."""
    places = {name: {"place": of["place"]} for name, of in saved.items() if "place" in of}
    known = {name: {**of, **given.get(name, {}), **places.get(name, {})} for name, of in saved.items()}
    new = {name: dict(of) for name, of in given.items() if name not in saved}
    for place, of in enumerate((of for of in new.values() if "place" in of), start=len(saved)):
        of["place"] = place
    return known | new


def _readings(
    row: RowTexts, reader: str, saved: Readings, read: Read | None, about: Mapping[str, Any] | None
) -> np.ndarray:
    """Readings of a row as [prompts, samples, values]; of a profile, which reads first samples, [prompts, values]."""
    if reader.startswith(PROFILE):
        return np.array(saved.of(row.name, reader, [of_prompt[0] for of_prompt in row.texts], read, about))
    return row.shaped(saved.of(row.name, reader, row.flat, read, about))


def _figures(
    row: RowTexts,
    readers: Sequence[str],
    found: Found,
    thresholds: Mapping[str, float],
    time: Mapping[str, Any],
) -> RowFigures:
    control = {judge: control_figures(found[row.name, judge][..., -1], of) for judge, of in thresholds.items()}
    figures = text_figures(row.texts)
    figures |= {r: fluency_figure(found[row.name, r]) for r in readers if r.startswith(FLUENCY)}
    profile = next((found[row.name, reader] for reader in readers if reader.startswith(PROFILE)), np.empty((0, 0)))
    known = profile[~np.isnan(profile).any(1)] if len(profile) else profile
    means = known.mean(0).tolist() if len(known) else []
    return RowFigures(row, control, figures, time, means)


def _whole_prompts(path: Path) -> RowTexts:
    settings, lines, made_by = read_row(path)
    form = PromptForm.of_row(settings)
    if form.is_chat:
        lines = [{**line, MESSAGES: form.prompt(line["prompt"])} for line in lines]
    by_prompt = [list(group) for _, group in groupby(lines, key=lambda line: line["place"])]
    whole = [of_prompt for of_prompt in by_prompt if len(of_prompt) == settings["samples"]]
    return RowTexts(path.stem, settings, whole, made_by)


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
