"""The desk of `trimtab evaluate`: what its commands that write texts have in common, and the report."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from trimtab.cli.consoles import error_console
from trimtab.cli.models import load_in
from trimtab.errors import InvalidSetting
from trimtab.evaluation.settings import Grid, Reads, SweepSettings

if TYPE_CHECKING:
    from trimtab.evaluation.prompts import Direction
    from trimtab.lm import LanguageModel
    from trimtab.rewards.model import RewardModel


def write_report(folder: Path, reads: Reads) -> None:
    """Measure a comparison, write its report, and say where it is."""
    from trimtab.cli.progress import counting
    from trimtab.evaluation.judges import load_judge
    from trimtab.evaluation.plots import draw
    from trimtab.evaluation.readers import fluency_reader, profile_reader
    from trimtab.evaluation.readings import Readings
    from trimtab.evaluation.render import unread_notes, write_json, write_markdown
    from trimtab.evaluation.report import FLUENCY, PROFILE, measure, read_rows
    from trimtab.evaluation.tasks import find_task
    from trimtab.frozen.sources import load_frozen

    task = find_task(read_rows(folder)[0].settings["task"])
    asked = reads.judge or (() if Readings(folder).judges() else task.judges)
    named = [load_judge(spec, task) for spec in asked]
    readers = {}
    if reads.perplexity:
        readers[FLUENCY + Path(reads.perplexity).name] = fluency_reader(load_frozen(reads.perplexity))
    if reads.profile:
        readers[PROFILE + reads.profile] = profile_reader(*load_one(reads.profile))
    console = error_console()
    with counting("readings", console) as progress:
        found = measure(folder, named, readers, progress)
    for note in unread_notes(found):
        console.print(note, markup=False)
    write_json(found, folder / "report.json")
    write_markdown(found, folder / "report.md", draw(found, folder))
    typer.echo(f"{folder / 'report.md'}: {len(found.rows)} rows, judged by {', '.join(found.judges) or 'nobody'}")


class Desk:
    """What the commands that write texts have in common.

    Args:
        task: what the comparison is about.
        sources: prompts and which way they are pushed.
        place: the column of the prompts, and the split.
        grid: the methods.
        settings: what all rows share.
        out: the folder.
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
        from trimtab.evaluation.plan import Plan
        from trimtab.evaluation.prompts import read_prompt_set

        self.console = error_console()
        self.task, self.settings, self.out = task, settings, out
        self.lm = load_in(settings.model, settings.dtype)
        self.sets = [
            read_prompt_set(source, way, self.lm.frozen, place[0], settings.limit, place[1]) for source, way in sources
        ]
        for one in self.sets:
            if one.faults:
                self.console.print(f"{one.name}: {len(one.faults)} rows left out; first: {one.faults[0]}", markup=False)
        guides: dict[str, list[tuple[RewardModel, str | None]]] = {}
        for typed in grid.reward or []:
            name, rewards = load_guide(typed, self.lm)
            if name in guides:
                raise InvalidSetting(f"got two rewards named {name!r}, expected different names: they are the rows'")
            guides[name] = rewards
        by = load_one(grid.by, self.lm) if grid.by else next(iter(guides.values()), [None])[0]
        self.plan = Plan(grid, settings, guides, by, [load_one(typed, self.lm) for typed in grid.rewind or []])

    def work(self, reads: Reads, rounds: int) -> None:
        """Write the texts, time the methods, report; judges are loaded first, so that a fault in one shows at once."""
        from trimtab.evaluation.judges import load_judge
        from trimtab.evaluation.tasks import find_task

        task = find_task(self.task)
        for spec in reads.judge or task.judges:
            load_judge(spec, task)
        left = self.write()
        if left:
            self.console.print(
                f"{left} rows are being written by another process; `trimtab evaluate report` ends the work"
            )
        else:
            self.time(rounds)
        write_report(self.out, reads)

    def write(self) -> int:
        """Write what is missing of the rows; returns how many another process holds."""
        from trimtab.cli.progress import SweepBars
        from trimtab.evaluation.sweep import Sweep

        sweep = Sweep(self.task, self.plan.rows(self.sets), self.settings, self.out)
        with SweepBars(self.console, len(sweep.rows)) as bars:
            return len(sweep.run(self.lm, bars))

    def time(self, rounds: int) -> None:
        """Time the methods that have no time yet."""
        from trimtab.cli.progress import counting
        from trimtab.evaluation.timing import Clock, keep_times, read_times, time_methods

        clock = Clock(self.lm.frozen.device)
        known = read_times(self.out)
        methods = self.plan.timed(self.sets[0].direction, clock.watch)
        methods = methods[:1] + [method for method in methods[1:] if method.name not in known]
        if rounds and (len(methods) > 1 or methods[0].name not in known):
            with counting("timing", self.console) as progress:
                times = time_methods(self.lm, methods, self.sets[0], clock, rounds, progress)
            keep_times(self.out, times, self.lm, {"rounds": rounds, "samples": self.settings.samples})


def load_guide(text: str, lm: "LanguageModel") -> "tuple[str, list[tuple[RewardModel, str | None]]]":
    """Read NAME[:ATTRIBUTE], or several joined by "+": what to call them together, and the rewards."""
    parts = [load_one(part, lm) for part in text.split("+")]
    return "+".join(f"{r.name}:{attribute}" if attribute else r.name for r, attribute in parts), parts


def load_one(text: str, lm: "LanguageModel | None" = None) -> "tuple[RewardModel, str | None]":
    """Read NAME[:ATTRIBUTE]: the reward, and which of its attributes (None: the first)."""
    from trimtab.cli.steers import parse_reward
    from trimtab.lm import reward

    name, attribute = parse_reward(text)
    found = reward(name, lm)
    found.card.attribute_index(attribute)
    return found, attribute
