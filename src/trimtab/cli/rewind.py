"""`trimtab rewind`: search for continuations that a judge likes; measure a judge."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from trimtab.cli.calibrate import calibrate
from trimtab.cli.console import error_console
from trimtab.cli.dataclass_options import expands
from trimtab.cli.judges import Alone, JudgeChat, JudgeOption, Soft, load_search_judge, parse_judge
from trimtab.cli.options import (
    Chat,
    DtypeOption,
    Method,
    Model,
    PrintJson,
    Prompts,
    Seed,
    Source,
    SteerOption,
    Stop,
    System,
    Target,
    load_language_model,
)
from trimtab.cli.prompt_file import check_sources, resolve_seed, run_with_progress
from trimtab.errors import InvalidSetting
from trimtab.rewards.heads import head_of_method
from trimtab.rewind.rewind_settings import Budget, RewindSettings
from trimtab.steering.notation import parse_steer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trimtab.jobs import RewindJob
    from trimtab.judges.base import Judge
    from trimtab.language_model import LanguageModel
    from trimtab.rewind.result import SearchResult
    from trimtab.steering.steer import Steer

SEARCH = "search"


class SearchByDefault(TyperGroup):
    """`trimtab rewind PROMPT` is `trimtab rewind search PROMPT`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the search before anything that is not a command."""
        return super().parse_args(ctx, args if args and args[0] in self.commands else [SEARCH, *args])


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
    prompts: Prompts = None,
    judge: JudgeOption = "self",
    model: Model = "smollm2",
    dtype: DtypeOption = "auto",
    steer: SteerOption = None,
    method: Method = None,
    similarity: Annotated[
        str,
        typer.Option(help="Compares branches: lm (the model's hidden states), off, or a sentence-transformers model."),
    ] = "lm",
    stop: Stop = None,
    seed: Seed = None,
    chat: Chat = False,
    system: System = None,
    judge_chat: JudgeChat = False,
    judge_soft: Soft = False,
    judge_alone: Alone = False,
    show_tree: Annotated[bool, typer.Option("--show-tree", help="Print every branch, kept or taken back.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write the searches to this HTML page.")] = None,
    as_json: PrintJson = False,
    stats: Annotated[bool, typer.Option("--stats", help="Print tokens encoded and forward calls.")] = False,
    source: Source = None,
    target: Target = None,
    batch_size: Annotated[int, typer.Option(help="Prompts of --input that are searched together.")] = 8,
) -> None:
    """Search for continuations that a judge likes (RAIN, 2309.07124): drafts are written, judged and taken back.

    Example: trimtab rewind "My first day at work was" --judge toxicity=-1 --show-tree --stats

    A model with less than a few billion parameters judges itself poorly: measure it with `trimtab rewind calibrate`,
    or let a reward judge. Ctrl-C ends a search with the best draft so far.
    """
    check_sources(prompts, source, target)
    if source and (show_tree or html or as_json or stats):
        raise InvalidSetting(
            "got --input, expected with it no --show-tree, --html, --json or --stats: --output has everything"
        )
    if method is not None:
        head_of_method(method)
    parse_judge(judge)
    for text in steer or []:
        parse_steer(text)

    from trimtab.jobs import RewindJob

    job = RewindJob(
        model=model,
        judge=judge,
        steer=tuple(steer or ()),
        method=method,
        settings=settings,
        budget=budget,
        similarity=similarity,
        seed=resolve_seed(seed, target),
        chat=chat,
        system=system,
        stop=tuple(stop or ()),
        judge_chat=judge_chat,
        judge_soft=judge_soft,
        judge_alone=judge_alone,
        dtype=dtype,
    )
    if source is not None and target is not None:
        search_file(source, target, job, batch_size)
        return
    results = search_now(prompts or [], job)
    if html:
        from trimtab.rewind.page import write_page

        write_page(results, html, {"judge": judge, "model": model, "steer": " ".join(job.steer) or "none"})
    show(results, prompts or [], show_tree, as_json, stats)


def search_now(prompts: list[str], job: "RewindJob") -> "list[SearchResult]":
    """Search some prompts and display the progress."""
    from trimtab.cli.progress import SearchDisplay
    from trimtab.jobs import number_prompts, search_prompts

    lm, judge, steering = load(job)
    with SearchDisplay(error_console(), lm.engine.codec.decode) as display:
        numbered = number_prompts(prompts, job.chat, job.system)
        return search_prompts(lm, numbered, judge, steering, job, display)


def search_file(source: Path, target: Path, job: "RewindJob", batch_size: int) -> None:
    """Search a file of prompts."""
    from trimtab.jobs import describe_search, search_prompts

    lm, judge, steering = load(job)

    def write(batch: Any) -> list[dict[str, Any]]:
        results = search_prompts(lm, batch, judge, steering, job)
        return [describe_search(prompt, result) for prompt, result in zip(batch, results, strict=True)]

    run_with_progress(lm, source, target, write, job, batch_size, steering)


def load(job: "RewindJob") -> "tuple[LanguageModel, Judge, Steer | None]":
    """Load the models that a job names."""
    from trimtab.rewards.registry import load_steers

    lm = load_language_model(job.model, job.dtype)
    judge = load_search_judge(job.judge, lm, job.judge_chat, job.judge_soft, job.judge_alone)
    return lm, judge, load_steers(job.steer, job.method, lm.base)


def show(results: "list[SearchResult]", prompts: list[str], tree: bool, as_json: bool, stats: bool) -> None:
    """Print results."""
    from rich.console import Console

    from trimtab.cli.search_tree import tree_of

    console = Console(highlight=False)
    for prompt, result in zip(prompts, results, strict=True):
        if as_json:
            typer.echo(json.dumps(result.as_dict(), ensure_ascii=False))
        elif tree:
            console.print(tree_of(result))
        if not as_json:
            console.print(prompt, style="dim", end="", markup=False, soft_wrap=True)
            console.print(result.text, markup=False, soft_wrap=True)
        if result.finish_reason in ("budget", "interrupted"):
            error_console().print(f"ended by: {result.finish_reason}, with the best draft so far")
    if stats:
        error_console().print(usage_line(results))


def usage_line(results: "Sequence[SearchResult]") -> str:
    """The cost of searches, as one line."""
    judged, taken_back = (sum(getattr(each, name) for each in results) for name in ("iterations", "taken_back"))
    usage, seconds, iterations = results[0].usage, results[0].seconds, max(judged, 1)
    return (
        f"{judged} iteration{'s' * (judged != 1)}, {taken_back} draft{'s' * (taken_back != 1)} taken back; "
        f"{usage.tokens} tokens encoded ({usage.tokens / iterations:.1f} per iteration) in {usage.calls} forward "
        f"calls ({usage.calls / iterations:.2f} per iteration); {seconds:.1f} s"
    )
