"""The parts that the sweeps of `trimtab evaluate` share: check, write texts, time methods, report."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from trimtab.cli.console import error_console, legible, loading, report_faults
from trimtab.cli.options import load_language_model
from trimtab.cli.ray_options import check_cluster
from trimtab.cli.sweep_candidates import check_candidates
from trimtab.cluster.ray_actors import RayActors
from trimtab.engines.engine_names import check_engine, check_engine_steers
from trimtab.errors import InvalidSetting
from trimtab.evaluation.prompt_form import PLAIN, PromptForm
from trimtab.evaluation.run.load_plan import load_plan, rewards_of
from trimtab.evaluation.run.search_settings import SearchSettings
from trimtab.evaluation.run.sweep_settings import Grid, PlotOptions, ScoringOptions, SweepSettings
from trimtab.rewards.expert_names import names_experts
from trimtab.steering.notation import parse_reward

if TYPE_CHECKING:
    from trimtab.evaluation.run.plan import Plan
    from trimtab.evaluation.run.prompt_sets import Direction, PromptSet
    from trimtab.evaluation.score.readers import Read
    from trimtab.judges.base import Judge
    from trimtab.language_model import LanguageModel
    from trimtab.rewards.reward_model import RewardModel


@dataclass(frozen=True)
class Asked:
    """What a command of `trimtab evaluate` was asked to do.

    Attributes:
        task: the name of the task.
        sources: tables of prompts, with the direction of each.
        column, split: where the prompts are in the tables.
        grid, settings, search, scoring, plots: the options.
        out: the folder of the comparison.
        rounds: rounds of timing.
        force: replace files of another origin in the folder.
        ray, actors: the Ray cluster that writes the texts, if there is one.
    """

    task: str
    sources: "list[tuple[str, Direction]]"
    column: str
    split: str
    grid: Grid
    settings: SweepSettings
    search: SearchSettings
    scoring: ScoringOptions
    plots: PlotOptions
    out: Path
    rounds: int
    force: bool
    ray: str | None
    actors: RayActors


def run_sweep(asked: Asked) -> None:
    """Check everything that can be checked without weights, write the texts, time the methods, and report.

    Raises:
        TrimtabError: before anything is written.
    """
    sets = check_sweep(asked)
    check_readers(asked.task, asked.scoring)
    lm = load_language_model(asked.settings.model, asked.settings.dtype, engine=asked.settings.engine)
    with loading("rewards"):
        plan = load_plan(asked.grid, asked.settings, asked.search, lm)
    if left := write_texts(asked, plan, sets, lm):
        error_console().print(
            f"another process writes {left} rows; run `trimtab evaluate report` when it has finished", markup=False
        )
    else:
        time_texts(asked, plan, sets, lm)
    write_report(asked.out, asked.scoring, asked.plots, every_judge=True)


def check_sweep(asked: Asked) -> "list[PromptSet]":
    """Check numbers, files and names, and read the prompts; no weights are loaded.

    Raises:
        TrimtabError: something is wrong.
    """
    from trimtab.evaluation.checks import check_at_least
    from trimtab.evaluation.report.figure import check_matplotlib
    from trimtab.evaluation.report.targets import check_report_folder
    from trimtab.evaluation.run.row_file import check_rows_only
    from trimtab.evaluation.score.judge_specs import check_guide
    from trimtab.evaluation.tasks import find_task

    check_at_least(0, rounds=asked.rounds)
    asked.search.check_read(bool(asked.grid.rewind), bool(asked.grid.rewind_beta))
    check_cluster(asked.ray, asked.actors)
    check_engine(asked.settings.engine)
    check_matplotlib()
    check_report_folder(asked.out, "--out", asked.plots.formats, asked.force)
    check_rows_only(asked.out)
    check_scoring(asked.scoring.judge or find_task(asked.task).judges, asked.scoring, asked.settings.form)
    rewards = rewards_of(asked.grid)
    check_names([text.split("+") for text in asked.grid.reward or []])
    for spec in rewards:
        check_guide(spec)

    from trimtab.evaluation.run.prompt_sets import read_prompt_set
    from trimtab.models.loading import load_codec

    codec = load_codec(asked.settings.model)
    cards = {spec: check_guide(spec, codec, asked.grid.retokenize) for spec in rewards}
    steering = {part for text in asked.grid.reward or [] for part in text.split("+")}
    check_engine_steers(asked.settings.engine, [cards[spec] for spec in rewards if spec in steering])
    check_candidates(asked.grid, asked.settings, asked.search, cards, len(codec.tokenizer))
    sets = [
        read_prompt_set(source, way, codec, asked.column, asked.settings.limit, asked.split, asked.settings.form)
        for source, way in asked.sources
    ]
    check_distinct("--beta", [f"{beta:g}" for beta in asked.grid.beta or []])
    check_distinct("--args", [f"{weight:g}" for weight in asked.grid.args or []])
    check_distinct("prompts", [f"{one.name}, steered {one.direction}" for one in sets])
    for one in sets:
        report_faults(one.name, one.faults)
    return sets


def check_scoring(judges: Sequence[str], scoring: ScoringOptions, form: PromptForm = PLAIN) -> None:
    """Check judges and readers by their names and files.

    Args:
        judges: those that will be asked.
        scoring: has the readers.
        form: of the prompts.

    Raises:
        TrimtabError: there is no such judge, reward or model; or prompts are messages, and a reader's model has no chat
            template.
    """
    from trimtab.evaluation.score.judge_specs import check_judges, check_reward

    check_judges(judges)
    if scoring.profile:
        check_reward(scoring.profile)
    for model in reading_models(scoring, form):
        from trimtab.models.loading import load_codec

        form.check(load_codec(model))


def reading_models(scoring: ScoringOptions, form: PromptForm) -> list[str]:
    """The models whose tokenizers encode prompts for readers: that of --perplexity, and of messages that of --profile.

    Raises:
        RewardMismatch: the card of the reward does not say where its base is.
    """
    from trimtab.rewards.registry import base_of

    models = [scoring.perplexity] if scoring.perplexity else []
    if scoring.profile and form.is_chat:
        models.append(base_of(parse_reward(scoring.profile)[0]))
    return models


def check_readers(task: str, scoring: ScoringOptions) -> None:
    """Load all judges and readers once, so that their faults show before any text is written; nothing is kept.

    Raises:
        TrimtabError: one cannot be loaded.
    """
    from trimtab.evaluation.tasks import find_task

    found = find_task(task)
    load_judges(list(scoring.judge or found.judges), found.labels)
    load_readers(scoring)


def load_judges(specs: "list[str]", labels: tuple[str, ...]) -> "list[Judge]":
    """Load judges by their names."""
    from trimtab.judges.load import check_bounded, load_judge

    judges: list[Judge] = []
    for spec in specs:
        with loading(spec):
            judges.append(check_bounded(load_judge(spec, labels)))
    check_distinct("judges of the name", [judge.name for judge in judges])
    return judges


def check_distinct(what: str, given: list[str]) -> None:
    """Check that nothing is given twice: two rows would have one name.

    Raises:
        InvalidSetting: something is.
    """
    if twice := {each for each in given if given.count(each) > 1}:
        raise InvalidSetting(f"got {what} {min(twice)!r} twice, expected different ones, because they name the rows")


def check_names(guides: list[list[str]]) -> None:
    """Check that rewards that steer have different names, by the last parts of their paths.

    Raises:
        InvalidSetting: two have the same name.
    """
    names = [
        "+".join(":".join(filter(None, (last_part(name), of))) for name, of in map(parse_reward, g)) for g in guides
    ]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InvalidSetting(
            f"got two rewards named {min(twice)!r}, expected different names, because they name the rows"
        )


def last_part(name: str) -> str:
    """The last part of a path; the name of experts as it is."""
    return name if names_experts(name) else Path(name).name


def write_texts(asked: Asked, plan: "Plan", sets: "list[PromptSet]", lm: "LanguageModel") -> int:
    """Write the missing texts; returns the number of rows that another process holds."""
    from trimtab.cli.progress import SweepBars
    from trimtab.evaluation.run.sweep import Sweep

    sweep = Sweep(asked.task, plan.rows(sets), asked.settings, asked.out)
    sweep.check(lm)
    with SweepBars(error_console(), len(sweep.rows)) as bars:
        if asked.ray is None:
            return len(sweep.run(lm, bars))
        from trimtab.evaluation.run.ray_sweep import SweepWriter, run_on_ray

        writer = partial(SweepWriter, asked.task, asked.grid, asked.settings, asked.search, sets)
        return len(run_on_ray(sweep, writer, lm, asked.ray, asked.actors, bars))


def time_texts(asked: Asked, plan: "Plan", sets: "list[PromptSet]", lm: "LanguageModel") -> None:
    """Time the methods that have no time of these settings yet."""
    from trimtab.cli.progress import counting
    from trimtab.evaluation.run.sweep import Row, Sweep
    from trimtab.evaluation.run.times_file import SETTINGS, read_times, save_times, time_settings
    from trimtab.evaluation.run.timing import Clock, device_of, time_methods

    clock, saved = Clock(device_of(lm), asked.settings.engine == "torch"), read_times(asked.out)
    methods, sweep = plan.timed(sets[0].direction, clock.timed_steer), Sweep(asked.task, [], asked.settings)
    settings = {one.time_name: time_settings(sweep.about(Row(sets[0], one), lm)) for one in methods}
    missing = [one for one in methods if saved.get(one.time_name, {}).get(SETTINGS) != settings[one.time_name]]
    if not asked.rounds or not missing:
        return
    methods = methods[:1] + [one for one in missing if one is not methods[0]]
    with counting("timing", error_console()) as progress:
        times = time_methods(lm, methods, sets[0], clock, asked.rounds, progress, asked.settings.form)
    of_settings = {name: {**time, SETTINGS: settings[name]} for name, time in times.items()}
    save_times(asked.out, of_settings, lm, {"rounds": asked.rounds, "samples": asked.settings.samples})


def write_report(folder: Path, scoring: ScoringOptions, plots: PlotOptions, every_judge: bool = False) -> None:
    """Measure a comparison, write its report, and print the path of the report.

    Args:
        folder: of the comparison.
        scoring: its judges and readers. Without a judge, those of the task read what they have not read.
        plots: what is drawn.
        every_judge: without a judge, take all of the task's, and not only those that have read texts here.
    """
    from trimtab.evaluation.report.targets import check_report_folder
    from trimtab.evaluation.run.row_file import read_row, row_paths
    from trimtab.evaluation.score.readings import Readings
    from trimtab.evaluation.tasks import find_task

    settings = read_row(row_paths(folder)[0]).settings
    task = find_task(settings["task"])
    check_report_folder(folder, "the folder", plots.formats)
    saved = Readings(folder).judges()
    known = [name for name in task.judges if name in saved or every_judge or not saved]
    specs = scoring.judge or known
    check_scoring(specs, scoring, PromptForm.of_row(settings))

    from trimtab.cli.progress import counting
    from trimtab.evaluation.report.collect import measure
    from trimtab.evaluation.report.folder import write_report_files
    from trimtab.evaluation.report.markdown import unread_notes
    from trimtab.evaluation.report.record import as_record

    judges, (readers, identities) = load_judges(list(specs), task.labels), load_readers(scoring)
    with counting("readings", error_console()) as progress:
        kept = not scoring.judge
        record = as_record(measure(folder, judges, readers, progress, identities=identities, keep_order=kept))
    for note in unread_notes(record):
        error_console().print(legible(note, keep=""), markup=False)
    write_report_files(record, folder, plots.formats, plots.title)
    judged = ", ".join(record["judges"]) or "no judge"
    typer.echo(legible(f"{folder / 'report.md'}: {len(record['rows'])} rows, judged by {judged}", keep=""))


def load_readers(scoring: ScoringOptions) -> "tuple[dict[str, Read], dict[str, dict[str, str]]]":
    """The readers of --perplexity and --profile by name, and what each is made of."""
    from trimtab.evaluation.score.readers import fluency_reader, profile_reader
    from trimtab.evaluation.tasks import FLUENCY, PROFILE
    from trimtab.loading import load

    readers, identities = {}, {}
    if scoring.perplexity:
        with loading(scoring.perplexity):
            engine = load(scoring.perplexity).engine
            about = engine.describe()
        name = FLUENCY + Path(scoring.perplexity).name
        readers[name] = fluency_reader(engine)
        identities[name] = {field: about[field] for field in ("base_fingerprint", "weights_fingerprint", "dtype")}
    if scoring.profile:
        with loading(scoring.profile):
            reward, attribute = load_one(scoring.profile)
        readers[PROFILE + scoring.profile] = profile_reader(reward, attribute)
        base = reward.base.weights_fingerprint
        identities[PROFILE + scoring.profile] = {"fingerprint": reward.fingerprint, "base_weights_fingerprint": base}
    return readers, identities


def load_one(text: str) -> "tuple[RewardModel, str | None]":
    """The reward NAME[:ATTRIBUTE] on its own base, and the attribute; None for the first."""
    from trimtab.rewards.registry import load_reward

    name, attribute = parse_reward(text)
    found = load_reward(name)
    found.card.attribute_index(attribute)
    return found, attribute
