"""The parts that the sweeps of `trimtab evaluate` share: write texts, time methods, report."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from trimtab.cli.console import error_console
from trimtab.cli.options import load_language_model
from trimtab.errors import InvalidSetting
from trimtab.evaluation.run.sweep_settings import Grid, ScoringOptions, SweepSettings
from trimtab.steering.notation import parse_reward

if TYPE_CHECKING:
    from trimtab.evaluation.run.methods import Chosen
    from trimtab.evaluation.run.prompt_sets import Direction
    from trimtab.evaluation.score.readers import Read
    from trimtab.language_model import LanguageModel


class SweepCommand:
    """A command that writes the texts of a comparison, times its methods, and reports.

    Args:
        task: the name of the task.
        sources: tables of prompts, with the direction of each.
        place: the column of the prompts, and the split.
        grid: the methods.
        settings: the settings of all rows.
        out: the folder of the comparison.

    Raises:
        InvalidData, InvalidSetting, RewardNotFound, RewardMismatch: before anything is written.
    """

    def __init__(
        self,
        task: str,
        sources: "list[tuple[str, Direction]]",
        place: tuple[str, str],
        grid: Grid,
        settings: SweepSettings,
        out: Path,
    ):
        from trimtab.evaluation.run.plan import Plan
        from trimtab.evaluation.run.prompt_sets import read_prompt_set

        self.console = error_console()
        self.task, self.settings, self.out = task, settings, out
        self.lm = load_language_model(settings.model, settings.dtype)
        codec, (column, split) = self.lm.engine.codec, place
        self.sets = [read_prompt_set(source, way, codec, column, settings.limit, split) for source, way in sources]
        for one in self.sets:
            if one.faults:
                self.console.print(f"{one.name}: {len(one.faults)} rows left out; first: {one.faults[0]}", markup=False)
        guides = load_guides(grid.reward or [], self.lm)
        by = load_one(grid.by, self.lm) if grid.by else next(iter(guides.values()), [None])[0]
        self.plan = Plan(grid, settings, guides, by, [load_one(text, self.lm) for text in grid.rewind or []])

    def run(self, scoring: ScoringOptions, rounds: int) -> None:
        """Write the texts, time the methods, and report. Judges are loaded first, so that their faults show at once."""
        from trimtab.evaluation.tasks import find_task
        from trimtab.judges.load import load_judge

        task = find_task(self.task)
        for spec in scoring.judge or task.judges:
            load_judge(spec, task.labels)
        if left := self.write():
            self.console.print(
                f"another process writes {left} rows; run `trimtab evaluate report` when it has finished"
            )
        else:
            self.time(rounds)
        write_report(self.out, scoring)

    def write(self) -> int:
        """Write the missing texts; returns the number of rows that another process holds."""
        from trimtab.cli.progress import SweepBars
        from trimtab.evaluation.run.sweep import Sweep

        sweep = Sweep(self.task, self.plan.rows(self.sets), self.settings, self.out)
        with SweepBars(self.console, len(sweep.rows)) as bars:
            return len(sweep.run(self.lm, bars))

    def time(self, rounds: int) -> None:
        """Time the methods that have no time yet."""
        from trimtab.cli.progress import counting
        from trimtab.evaluation.run.timing import Clock, device_of, read_times, save_times, time_methods

        clock = Clock(device_of(self.lm))
        known = read_times(self.out)
        methods = self.plan.timed(self.sets[0].direction, clock.timed_steer)
        methods = methods[:1] + [method for method in methods[1:] if method.name not in known]
        if rounds and (len(methods) > 1 or methods[0].name not in known):
            with counting("timing", self.console) as progress:
                times = time_methods(self.lm, methods, self.sets[0], clock, rounds, progress)
            save_times(self.out, times, self.lm, {"rounds": rounds, "samples": self.settings.samples})


def write_report(folder: Path, scoring: ScoringOptions) -> None:
    """Measure a comparison, write its report, and print the path of the report."""
    from trimtab.cli.progress import counting
    from trimtab.evaluation.report.collect import measure, read_rows
    from trimtab.evaluation.report.plots import draw
    from trimtab.evaluation.report.render import unread_notes, write_json, write_markdown
    from trimtab.evaluation.score.readings import Readings
    from trimtab.evaluation.tasks import find_task
    from trimtab.judges.load import load_judge

    task = find_task(read_rows(folder)[0].settings["task"])
    specs = scoring.judge or (() if Readings(folder).judges() else task.judges)
    judges, readers = [load_judge(spec, task.labels) for spec in specs], load_readers(scoring)
    console = error_console()
    with counting("readings", console) as progress:
        found = measure(folder, judges, readers, progress)
    for note in unread_notes(found):
        console.print(note, markup=False)
    write_json(found, folder / "report.json")
    write_markdown(found, folder / "report.md", draw(found, folder))
    typer.echo(f"{folder / 'report.md'}: {len(found.rows)} rows, judged by {', '.join(found.judges) or 'no judge'}")


def load_readers(scoring: ScoringOptions) -> "dict[str, Read]":
    """The readers of --perplexity and --profile, by name."""
    from trimtab.evaluation.report.collect import FLUENCY, PROFILE
    from trimtab.evaluation.score.readers import fluency_reader, profile_reader
    from trimtab.language_model import load

    readers = {}
    if scoring.perplexity:
        readers[FLUENCY + Path(scoring.perplexity).name] = fluency_reader(load(scoring.perplexity).engine)
    if scoring.profile:
        readers[PROFILE + scoring.profile] = profile_reader(*load_one(scoring.profile))
    return readers


def load_guides(texts: list[str], lm: "LanguageModel") -> "dict[str, list[Chosen]]":
    """The rewards of each --reward by name; NAME[:ATTRIBUTE] parts joined by "+" steer together.

    Raises:
        InvalidSetting: two have the same name.
    """
    from trimtab.evaluation.run.methods import name_of

    guides: dict[str, list[Chosen]] = {}
    for text in texts:
        rewards = [load_one(part, lm) for part in text.split("+")]
        name = "+".join(map(name_of, rewards))
        if name in guides:
            raise InvalidSetting(
                f"got two rewards named {name!r}, expected different names, because they name the rows"
            )
        guides[name] = rewards
    return guides


def load_one(text: str, lm: "LanguageModel | None" = None) -> "Chosen":
    """The reward NAME[:ATTRIBUTE], and the attribute; None for the first."""
    from trimtab.rewards.registry import load_reward

    name, attribute = parse_reward(text)
    found = load_reward(name, lm.engine.base if lm else None)
    found.card.attribute_index(attribute)
    return found, attribute
