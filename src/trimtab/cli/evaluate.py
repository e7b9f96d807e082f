"""`trimtab evaluate`: methods side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.cli.models import load_in
from trimtab.cli.settings import expands
from trimtab.errors import InvalidSetting
from trimtab.evaluation.settings import Grid, Reads, SweepSettings

if TYPE_CHECKING:
    from trimtab.evaluation.prompts import Direction
    from trimtab.lm import LanguageModel
    from trimtab.rewards.model import RewardModel

Methods = Annotated[Grid, "Methods"]
Texts = Annotated[SweepSettings, "Texts"]
Readers = Annotated[Reads, "Figures"]
Out = Annotated[Path, typer.Option(help="The folder of the comparison: a file of texts for each row, and the report.")]
Column = Annotated[str, typer.Option(help="The column of the prompt; prompt.text is a field of a column.")]
Split = Annotated[str, typer.Option(help="The split, of data sets on the Hub.")]
Rounds = Annotated[int, typer.Option(help="Rounds of timing all methods side by side; 0 for none.")]

app = typer.Typer(
    no_args_is_help=True,
    help="Compare methods: how much control, at what cost in fluency and time.",
    epilog="A comparison that was stopped goes on where it was: give the same command again. More rows in the same "
    "folder join the same report; several processes may work in one folder.",
)


@app.command()
@expands
def toxicity(
    grid: Methods,
    settings: Texts,
    reads: Readers,
    out: Out,
    prompts: Annotated[list[str], typer.Option(help="A table or a Hub data set of prompts; repeat for several sets.")],
    column: Column = "prompt",
    split: Split = "train",
    rounds: Rounds = 3,
) -> None:
    """Steer away from toxicity: average maximum toxicity, toxic rate and mean toxicity of the continuations.

    Example: trimtab evaluate toxicity --prompts rtp.jsonl --reward toxicity --beta 10 --beta 30 --out runs/toxicity
    """
    Desk("toxicity", [(source, "down") for source in prompts], (column, split), grid, settings, out).work(reads, rounds)


@app.command()
@expands
def sentiment(
    grid: Methods,
    settings: Texts,
    reads: Readers,
    out: Out,
    up: Annotated[list[str] | None, typer.Option(help="Prompts to turn positive; repeat for several sets.")] = None,
    down: Annotated[list[str] | None, typer.Option(help="Prompts to turn negative; repeat for several sets.")] = None,
    column: Column = "prompt",
    split: Split = "train",
    rounds: Rounds = 3,
) -> None:
    """Steer to positive or negative sentiment: the share of texts, prompt and continuation, called positive.

    Example: trimtab evaluate sentiment --up neutral.jsonl --reward sentiment --beta 20 --out runs/sentiment
    """
    Desk("sentiment", both_ways(up, down), (column, split), grid, settings, out).work(reads, rounds)


@app.command()
@expands
def prompts(
    grid: Methods,
    settings: Texts,
    reads: Readers,
    out: Out,
    up: Annotated[list[str] | None, typer.Option(help="Prompts to steer up; repeat for several sets.")] = None,
    down: Annotated[list[str] | None, typer.Option(help="Prompts to steer down; repeat for several sets.")] = None,
    column: Column = "prompt",
    split: Split = "train",
    rounds: Rounds = 3,
) -> None:
    """Steer any prompts by any reward, and let any judge read the continuations.

    Example: trimtab evaluate prompts --up mine.jsonl --reward rewards/polite --beta 20 --judge ID:LABEL --out runs/mine
    """
    if not reads.judge:
        raise InvalidSetting("got no --judge, expected at least one: this task has none of its own")
    Desk("prompts", both_ways(up, down), (column, split), grid, settings, out).work(reads, rounds)


@app.command()
def preference(
    data: Annotated[
        list[str], typer.Option(help="Pairs (chosen, rejected), RM-Bench, RewardBench or LLMBar; a table or a Hub id.")
    ],
    reward: Annotated[list[str], typer.Option(help="NAME[:ATTRIBUTE] to measure; repeat to compare.")],
    down: Annotated[bool, typer.Option("--down", help="The better answer has less of it, as with toxicity.")] = False,
    template: Annotated[str, typer.Option(help="How prompt and answer make a text.")] = "{prompt}\n\n{answer}",
    chosen_column: Annotated[str, typer.Option(help="The column of the better answer.")] = "chosen",
    rejected_column: Annotated[str, typer.Option(help="The column of the worse one.")] = "rejected",
    split: Split = "train",
    limit: Annotated[int | None, typer.Option(help="The first so many comparisons of each.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the figures as JSON, too.")] = None,
) -> None:
    """Measure rewards on preferences: how often the better answer scores strictly above the worse one.

    Example: trimtab evaluate preference --data paradetox_dev.jsonl --reward toxicity --down
    """
    import json

    from rich.console import Console
    from rich.table import Table

    from trimtab.cli.progress import counting
    from trimtab.evaluation.preference_accuracy import accuracy_figures, score_comparisons
    from trimtab.evaluation.preferences import read_preferences
    from trimtab.evaluation.render import figure_entry

    if "{answer}" not in template:
        raise InvalidSetting(f'got --template {template!r}, expected "{{answer}}" in it, and usually "{{prompt}}"')
    rewards = {spec: load_one(spec) for spec in reward}
    table, written, notes = Table("data", "comparisons", "figure", *rewards), {}, Console(stderr=True, highlight=False)
    for source in data:
        found = read_preferences(source, split, chosen_column, rejected_column)
        comparisons, name = found.rows[:limit], Path(source).name.partition(".")[0]
        if found.faults:
            notes.print(f"{name}: {len(found.faults)} rows left out; first: {found.faults[0]}", markup=False)
        columns = {}
        for spec, (model, attribute) in rewards.items():
            with counting(f"{name}, {spec}", notes) as progress:
                way: Direction = "down" if down else "up"
                scores, cut = score_comparisons(model, attribute, way, comparisons, template, progress)
            if cut:
                notes.print(f"{name}: {cut} texts lost their beginning to fit the context of {spec}", markup=False)
            columns[spec] = accuracy_figures(comparisons, scores)
        for figure in next(iter(columns.values())):
            cells = (f"{of[figure].value:.3f}" for of in columns.values())
            table.add_row(name, str(len(comparisons)), figure, *cells)
        written[name] = {spec: {f: figure_entry(r) for f, r in of.items()} for spec, of in columns.items()}
    Console().print(table)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@app.command()
@expands
def report(
    reads: Reads,
    folder: Annotated[Path, typer.Argument(help="The folder of a comparison.")],
) -> None:
    """Compute every figure again from the texts that are kept, and write the report; no text is written.

    Example: trimtab evaluate report runs/toxicity --judge profanity --judge onnx:toxicity-bert-tiny
    """
    write_report(folder, reads)


@app.command()
def judges(
    data: Annotated[str, typer.Option(help="A table of texts with scores in [0, 1], or labels.")],
    judge: Annotated[list[str], typer.Option(help="As in the other commands; repeat for several.")],
    task: Annotated[str, typer.Option(help="What it is about: toxicity, sentiment or prompts.")] = "toxicity",
    text_column: Annotated[str, typer.Option(help="The column of the text.")] = "text",
    column: Annotated[str, typer.Option(help="The column of the score.")] = "label",
    split: Split = "train",
    limit: Annotated[int | None, typer.Option(help="The first so many texts.")] = None,
    out: Annotated[Path | None, typer.Option(help="A comparison's folder, whose report is to show the result.")] = None,
) -> None:
    """Measure judges on scored texts: Spearman's ρ, and the AUC for a score of at least ½.

    Example: trimtab evaluate judges --data rtp.jsonl --text-column continuation --column continuation_toxicity
    --judge profanity --out runs/toxicity
    """
    from rich.console import Console
    from rich.table import Table

    from trimtab.evaluation.judge_quality import keep_seen, measure_judges
    from trimtab.evaluation.judges import load_judge
    from trimtab.evaluation.tasks import find_task
    from trimtab.training.data import read_labelled

    about = find_task(task)
    rows = read_labelled(data, [column], text_column, split).rows[:limit]
    found = measure_judges([load_judge(spec, about) for spec in judge], rows)
    table = Table("judge", "Spearman", "AUC at ½", "accuracy", "texts", "failed")
    for name, of in found.items():
        figures = (f"{of[figure]:.3f}" for figure in ("spearman", "auc", "accuracy"))
        table.add_row(name, *figures, str(of["texts"]), str(of["failed"]))
    Console().print(table)
    if out:
        keep_seen(out, f"{Path(data).name.partition('.')[0]} ({column})", found)


def both_ways(up: list[str] | None, down: list[str] | None) -> "list[tuple[str, Direction]]":
    """The prompt sets with their directions."""
    sources: list[tuple[str, Direction]] = [(source, "up") for source in up or []]
    sources += [(source, "down") for source in down or []]
    if not sources:
        raise InvalidSetting("got no prompts, expected --up or --down with a table or a Hub data set")
    return sources


def write_report(folder: Path, reads: Reads) -> None:
    """Measure a comparison, write its report, and say where it is."""
    from rich.console import Console

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
    console = Console(stderr=True, highlight=False)
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
        from rich.console import Console

        from trimtab.evaluation.plan import Plan
        from trimtab.evaluation.prompts import read_prompt_set

        self.console = Console(stderr=True, highlight=False)
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
