"""`trimtab rewind`: search for continuations that a judge likes; measure a judge."""

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.checking import shown
from trimtab.cli.calibrate import calibrate
from trimtab.cli.console import error_console, loading
from trimtab.cli.dataclass_options import expands
from trimtab.cli.help import DefaultCommandGroup
from trimtab.cli.judges import JudgeSettings, load_search_judge, warn_of_self_judge
from trimtab.cli.options import DraftOption, Prompts, Source, Target, load_language_model
from trimtab.cli.prompt_file import check_prompts, check_resume, check_sources, run_with_progress
from trimtab.cli.search_options import SearchOptions
from trimtab.cli.search_outputs import Outputs, show
from trimtab.engines.engine_names import check_engine_steers
from trimtab.errors import InvalidSetting
from trimtab.rewind.rewind_settings import Budget, RewindSettings

if TYPE_CHECKING:
    from trimtab.jobs import RewindJob
    from trimtab.judges.base import Judge
    from trimtab.language_model import LanguageModel
    from trimtab.models.codec import TokenizerCodec
    from trimtab.steering.steer import Steer

    Models = tuple[LanguageModel, Judge, Steer | None]

SEARCH = "search"
SIMILAR = 0.75  # of a first word to the name of a sub-command, from 0 to 1


class SearchByDefault(DefaultCommandGroup):
    """`trimtab rewind PROMPT` is `trimtab rewind search PROMPT`."""

    default = SEARCH

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the search before anything that is not a command.

        Raises:
            InvalidSetting: the first word is nearly the name of a command, and no other prompt follows.
        """
        if args and args[0] not in self.commands and not (args[1:] and not args[1].startswith("-")):
            refuse_mistyped(args[0], list(self.commands))
        return super().parse_args(ctx, args)


def refuse_mistyped(word: str, commands: list[str]) -> None:
    """Refuse a word that is nearly the name of a command.

    Raises:
        InvalidSetting: it is.
    """
    if close := get_close_matches(word, commands, n=1, cutoff=SIMILAR):
        raise InvalidSetting(
            f"got {shown(word)}, did you mean `trimtab rewind {close[0]}`? "
            f"To continue this word as a prompt: trimtab rewind {SEARCH} {word}"
        )


app = typer.Typer(cls=SearchByDefault)


@app.callback()
def group() -> None:
    """Search for continuations that a judge likes (RAIN): words are written, judged and taken back."""


app.command("calibrate")(calibrate)


@app.command(SEARCH, epilog="How good is a judge? trimtab rewind calibrate --help")
@expands
def search(
    settings: Annotated[RewindSettings, "Search"],
    budget: Annotated[Budget, "Budget"],
    options: SearchOptions,
    judging: JudgeSettings,
    outputs: Outputs,
    prompts: Prompts = None,
    source: Source = None,
    target: Target = None,
    draft: DraftOption = None,
    batch_size: Annotated[int, typer.Option(help="Prompts of --input that are searched together.")] = 8,
) -> None:
    """Search for continuations that a judge likes (RAIN, 2309.07124): drafts are written, judged and taken back.

    Example: trimtab rewind "My first day at work was" --judge toxicity=-1 --show-tree --stats

    A model with less than a few billion parameters judges itself poorly: measure it with `trimtab rewind calibrate`,
    or let a reward judge. Ctrl-C ends a search with the best draft so far.
    """
    check_sources(prompts, source, target, batch_size, outputs.force)
    outputs = outputs.checked(source)
    options.check(settings, judging, draft)
    with loading(options.model):
        job = options.job(settings, budget, judging, None if outputs.force else target)
    codec = check_names(job, prompts or [], source)
    check_resume(source, target, codec, job, outputs.force)
    models = load(job, prompts or [], codec, judging.judge is None, draft)
    if source is not None and target is not None:
        search_file(source, target, job, batch_size, models, outputs.force)
    else:
        search_now(prompts or [], job, outputs, models)


def search_now(prompts: list[str], job: "RewindJob", outputs: Outputs, models: "Models") -> None:
    """Search some prompts, display the progress, and show the results."""
    from trimtab.cli.progress import SearchDisplay
    from trimtab.jobs import number_prompts, search_prompts

    numbered = number_prompts(prompts, job.chat, job.system)
    lm, judge, steering = models
    with SearchDisplay(error_console(), lm.engine.codec.decode_behind) as display:
        results = search_prompts(lm, numbered, judge, steering, job, display)
    show(results, numbered, job, outputs)  # before the page, which a full disk may refuse
    if outputs.html:
        from trimtab.rewind.page import write_page

        write_page(results, outputs.html)


def search_file(source: Path, target: Path, job: "RewindJob", batch_size: int, models: "Models", force: bool) -> None:
    """Search a file of prompts."""
    from trimtab.jobs import describe_search, search_prompts

    lm, judge, steering = models

    def write(batch: Any) -> list[dict[str, Any]]:
        results = search_prompts(lm, batch, judge, steering, job)
        return [describe_search(prompt, result, job) for prompt, result in zip(batch, results, strict=True)]

    run_with_progress(lm, source, target, write, job, batch_size, steering, judge, force)


def check_names(job: "RewindJob", prompts: list[str], source: Path | None) -> "TokenizerCodec":
    """Check what the tokenizer and the cards of the rewards tell; returns the tokenizer.

    Args:
        job: the settings.
        prompts: from the command line.
        source: the file of prompts.

    Raises:
        TrimtabError: something is wrong.
    """
    from trimtab.rewards.registry import cards_of, check_candidates
    from trimtab.rewind.similarity import check_similarity

    with loading(job.model):
        check_similarity(job.similarity)
        codec = check_prompts(prompts, job.chat, job.system, job.model, job.steer, job.method, source, job.retokenize)
        job.settings.check_vocabulary(len(codec.tokenizer))
        check_candidates(job.steer, job.method, job.settings.widest, codec, job.retokenize)
        check_engine_steers(job.engine, cards_of(job.steer, job.method, codec, job.retokenize))
    return codec


def load(job: "RewindJob", prompts: list[str], codec: "TokenizerCodec", unchosen: bool, draft: str | None) -> "Models":
    """Check the judge, then load the models that a job names.

    Args:
        job: the settings.
        prompts: from the command line.
        codec: of the language model.
        unchosen: whether the judge is the default, which is warned of.
        draft: what drafts; None for the draft head that ships for the model.
    """
    from trimtab.judges.notation import early_judge
    from trimtab.rewards.registry import load_steers
    from trimtab.rewind.new_search import check_whole_drafts

    with loading(f"the judge {job.judge}"):
        judge = early_judge(job.judge, codec, job.judge_chat, job.judge_soft, job.retokenize)
    if judge is not None:
        check_whole_drafts(judge, job.settings)
    check_rooms(prompts, job, codec, judge)
    if unchosen:
        warn_of_self_judge(job.model)
    lm = load_language_model(job.model, job.dtype, engine=job.engine, draft=draft, codec=codec)
    with loading("rewards"):
        alone, retokenize = job.judge_alone, job.retokenize
        judge = judge or load_search_judge(job.judge, lm, job.judge_chat, job.judge_soft, alone, retokenize)
        return lm, judge, load_steers(job.steer, job.method, lm.base, retokenize)


def check_rooms(prompts: list[str], job: "RewindJob", codec: "TokenizerCodec", judge: "Judge | None") -> None:
    """Refuse prompts that fill the context of the model or of a self-judge, before weights load.

    Raises:
        InvalidPrompt: one does.
    """
    from trimtab.jobs import number_prompts
    from trimtab.rewind.new_search import room_for_text

    for numbered in number_prompts(prompts, job.chat, job.system):
        room_for_text(codec, numbered.prompt, codec.encode_prompt(numbered.prompt), None, judge)
