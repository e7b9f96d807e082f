"""`trimtab rewind`: continuations that are searched for, judged and taken back; and how good a judge is."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from trimtab.cli.calibrate import calibrate
from trimtab.cli.consoles import error_console
from trimtab.cli.judges import Alone, Chat, JudgeOption, Soft, load_search_judge, parse_judge
from trimtab.cli.models import Model, Numbers, load_in
from trimtab.cli.settings import expands
from trimtab.cli.sources import (
    ChatTemplate,
    Prompts,
    Seed,
    Source,
    Stop,
    Target,
    check_sources,
    run_with_progress,
    seed_of,
)
from trimtab.cli.steers import check_method, load_steers, parse_steer
from trimtab.errors import InvalidSetting
from trimtab.rewind.settings import Budget, RewindSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trimtab.jobs import RewindJob
    from trimtab.lm import LanguageModel
    from trimtab.rewind.judge import Judge
    from trimtab.rewind.result import Rewound
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
    settings: Annotated[RewindSettings, "How it searches"],
    budget: Annotated[Budget, "What it may cost"],
    prompts: Prompts = None,
    judge: JudgeOption = "self",
    model: Model = "smollm2",
    dtype: Numbers = "auto",
    steer: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:ATTRIBUTE]=±BETA", help="Shape branches and drafts by a reward, too. Repeat."),
    ] = None,
    method: Annotated[str | None, typer.Option(help="arm or rad, of --steer's bundled rewards.")] = None,
    similarity: Annotated[
        str,
        typer.Option(help="What compares branches: lm (its own hidden states), off, or a sentence-transformers model."),
    ] = "lm",
    stop: Stop = None,
    seed: Seed = None,
    chat: ChatTemplate = False,
    judge_chat: Chat = False,
    judge_soft: Soft = False,
    judge_alone: Alone = False,
    show_tree: Annotated[bool, typer.Option("--show-tree", help="What was tried, kept and taken back.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write the searches as one HTML page.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line, the search in it.")] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Tokens encoded and forward calls, an iteration.")] = False,
    source: Source = None,
    target: Target = None,
    batch_size: Annotated[int, typer.Option(help="Prompts of --input searched together.")] = 8,
) -> None:
    """Search for continuations that a judge likes (RAIN, 2309.07124): words are written, judged and taken back.

    Example: trimtab rewind "The new neighbours are" --judge toxicity=-1 --show-tree --stats

    A model of less than some billion parameters is a poor judge of itself: measure it with `trimtab rewind calibrate`,
    or let a reward judge. Ctrl-C ends a search with what it has found.
    """
    check_sources(prompts, source, target)
    if source and (show_tree or html or as_json or stats):
        raise InvalidSetting(
            "got --input, expected with it no --show-tree, --html, --json or --stats: --output has all"
        )
    check_method(method)
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
        seed=seed_of(seed, target),
        chat=chat,
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
    show(results, show_tree, as_json, stats)


def search_now(prompts: list[str], job: "RewindJob") -> "list[Rewound]":
    """Search some prompts, the search on display."""
    from trimtab.cli.progress import SearchDisplay
    from trimtab.jobs import Prompt, search_prompts

    lm, judge, steering = loaded(job)
    with SearchDisplay(error_console(), lm.frozen.decode) as display:
        numbered = [Prompt(number, text) for number, text in enumerate(prompts, start=1)]
        return search_prompts(lm, numbered, judge, steering, job, display)


def search_file(source: Path, target: Path, job: "RewindJob", batch_size: int) -> None:
    """Search a file of prompts."""
    from trimtab.jobs import describe_search, search_prompts

    lm, judge, steering = loaded(job)

    def write(batch: Any) -> list[dict[str, Any]]:
        results = search_prompts(lm, batch, judge, steering, job)
        return [describe_search(prompt, result) for prompt, result in zip(batch, results, strict=True)]

    run_with_progress(lm, source, target, write, job, batch_size)


def loaded(job: "RewindJob") -> "tuple[LanguageModel, Judge, Steer | None]":
    """The models that a job names."""
    lm = load_in(job.model, job.dtype)
    judge = load_search_judge(job.judge, lm, job.judge_chat, job.judge_soft, job.judge_alone)
    return lm, judge, load_steers(list(job.steer), job.method, lm)


def show(results: "list[Rewound]", tree: bool, as_json: bool, stats: bool) -> None:
    """Print results."""
    from rich.console import Console

    from trimtab.cli.trees import tree_of

    console = Console(highlight=False)
    for result in results:
        if as_json:
            typer.echo(json.dumps(result.as_dict(), ensure_ascii=False))
        elif tree:
            console.print(tree_of(result))
        if not as_json:
            console.print(result.prompt, style="dim", end="", markup=False, soft_wrap=True)
            console.print(result.text, markup=False, soft_wrap=True)
        if result.finish_reason in ("budget", "interrupted"):
            error_console().print(f"ended by: {result.finish_reason}, with the best draft so far")
    if stats:
        error_console().print(spent_on(results))


def spent_on(results: "Sequence[Rewound]") -> str:
    """What searches cost, in a line."""
    judged, taken_back = (sum(getattr(each, name) for each in results) for name in ("iterations", "taken_back"))
    spent, seconds, iterations = results[0].spent, results[0].seconds, max(judged, 1)
    return (
        f"{judged} iteration{'s' * (judged != 1)}, {taken_back} draft{'s' * (taken_back != 1)} taken back; "
        f"{spent.tokens} tokens encoded ({spent.tokens / iterations:.1f} an iteration) in {spent.calls} forward "
        f"calls ({spent.calls / iterations:.2f} an iteration); {seconds:.1f} s"
    )
