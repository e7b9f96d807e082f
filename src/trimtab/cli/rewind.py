"""`trimtab rewind`: continuations that are searched for, judged and taken back; and how good a judge is."""

import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from trimtab.cli.judges import parse_judge
from trimtab.cli.models import Model, Numbers, load_in
from trimtab.cli.settings import expands
from trimtab.cli.steers import check_method, load_steers, parse_steer
from trimtab.errors import InvalidData, InvalidSetting
from trimtab.rewind.settings import Budget, RewindSettings

if TYPE_CHECKING:
    from rich.console import Console

    from trimtab.jobs import RewindJob
    from trimtab.rewind.draft import Draft
    from trimtab.rewind.result import Rewound

SEARCH = "search"

JudgeOption = Annotated[
    str,
    typer.Option(
        metavar="JUDGE",
        help="self[:QUESTION or FILE.toml] asks the model about its drafts (harmlessness, truthfulness, sentiment, "
        "requests); NAME=+1 or NAME=-1 of a reward or a classifier, whose high scores are good or bad.",
    ),
]
Soft = Annotated[bool, typer.Option("--judge-soft", help="A self-judge's probabilities count, not its answers.")]
Chat = Annotated[bool, typer.Option("--judge-chat", help="A self-judge is asked in the model's chat template.")]
Alone = Annotated[bool, typer.Option("--judge-alone", help="A reward judges the continuation without its prompt.")]


class SearchByDefault(TyperGroup):
    """`trimtab rewind PROMPT` is `trimtab rewind search PROMPT`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the search before anything that is not a command."""
        return super().parse_args(ctx, args if args and args[0] in self.commands else [SEARCH, *args])


app = typer.Typer(cls=SearchByDefault)


@app.callback()
def group() -> None:
    """Search for continuations that a judge likes (RAIN): words are written, judged and taken back."""


@app.command(SEARCH, epilog="How good is a judge? trimtab rewind calibrate --help")
@expands
def search(
    settings: RewindSettings,
    budget: Budget,
    prompts: Annotated[list[str] | None, typer.Argument(help="Texts to continue.")] = None,
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
    stop: Annotated[list[str] | None, typer.Option(help="End a text at this string; repeat for several.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed writes the same text.")] = None,
    chat: Annotated[bool, typer.Option("--chat", help="Apply the model's chat template.")] = False,
    judge_chat: Chat = False,
    judge_soft: Soft = False,
    judge_alone: Alone = False,
    show_tree: Annotated[bool, typer.Option("--show-tree", help="What was tried, kept and taken back.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write the searches as one HTML page.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line, the search in it.")] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Tokens encoded and forward calls, an iteration.")] = False,
    source: Annotated[Path | None, typer.Option("--input", help='JSON lines with a "prompt"; needs --output.')] = None,
    target: Annotated[Path | None, typer.Option("--output", help="JSON lines; a stopped run goes on here.")] = None,
    batch_size: Annotated[int, typer.Option(help="Prompts of --input searched together.")] = 8,
) -> None:
    """Search for continuations that a judge likes (RAIN, 2309.07124): words are written, judged and taken back.

    Example: trimtab rewind "The new neighbours are" --judge toxicity=-1 --show-tree --stats

    A model of less than some billion parameters is a poor judge of itself: measure it with `trimtab rewind calibrate`,
    or let a reward judge. Ctrl-C ends a search with what it has found.
    """
    if (source is None) != (target is None):
        raise InvalidSetting("got one of --input and --output, expected both or neither")
    if bool(prompts) == bool(source):
        raise InvalidSetting(f"got {'prompts and --input' if prompts else 'no prompts'}, expected prompts or --input")
    if source and (show_tree or html or as_json or stats):
        raise InvalidSetting(
            "got --input, expected with it no --show-tree, --html, --json or --stats: --output has all"
        )
    check_method(method)
    parse_judge(judge)
    for text in steer or []:
        parse_steer(text)

    from trimtab.cli.generate import recorded_seed
    from trimtab.jobs import RewindJob

    recorded = recorded_seed(target) if seed is None else seed
    job = RewindJob(
        model=model,
        judge=judge,
        steer=tuple(steer or ()),
        method=method,
        settings=settings,
        budget=budget,
        similarity=similarity,
        seed=secrets.randbits(32) if recorded is None else recorded,
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

    lm = load_in(job.model, job.dtype)
    from trimtab.cli.judges import load_search_judge

    judge = load_search_judge(job.judge, lm, job.judge_chat, job.judge_soft, job.judge_alone)
    steering = load_steers(list(job.steer), job.method, lm)
    with SearchDisplay(error_console(), lm.frozen.decode) as display:
        numbered = [Prompt(number, text) for number, text in enumerate(prompts, start=1)]
        return search_prompts(lm, numbered, judge, steering, job, display)


def search_file(source: Path, target: Path, job: "RewindJob", batch_size: int) -> None:
    """Search a file of prompts; bad lines are named at the end and make the exit status 1."""
    from trimtab.cli.judges import load_search_judge
    from trimtab.cli.progress import counting
    from trimtab.jobs import describe_search, run_file, search_prompts

    lm = load_in(job.model, job.dtype)
    judge = load_search_judge(job.judge, lm, job.judge_chat, job.judge_soft, job.judge_alone)
    steering = load_steers(list(job.steer), job.method, lm)

    def write(batch: Any) -> list[dict[str, Any]]:
        results = search_prompts(lm, batch, judge, steering, job)
        return [describe_search(prompt, result) for prompt, result in zip(batch, results, strict=True)]

    with counting("prompts", error_console()) as progress:
        faults = run_file(lm, source, target, write, job, batch_size, progress)
    if faults:
        raise InvalidData(f"{source}: {len(faults)} lines skipped, all others are in {target}: " + "; ".join(faults))


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
        iterations = max(sum(result.iterations for result in results), 1)
        spent, seconds = results[0].spent, results[0].seconds
        error_console().print(
            f"{iterations} iterations, {sum(result.taken_back for result in results)} drafts taken back; "
            f"{spent.tokens} tokens encoded ({spent.tokens / iterations:.1f} an iteration) in {spent.calls} forward "
            f"calls ({spent.calls / iterations:.2f} an iteration); {seconds:.1f} s"
        )


@app.command()
def calibrate(
    data: Annotated[str, typer.Option(help="A table or a Hub data set of texts whose quality is known.")],
    judge: JudgeOption = "self",
    model: Model = "smollm2",
    dtype: Numbers = "auto",
    text_column: Annotated[str, typer.Option(help="The text to judge.")] = "text",
    prompt_column: Annotated[str | None, typer.Option(help="What it answers; default: nothing.")] = None,
    column: Annotated[str, typer.Option(help="What says whether a text is good.")] = "label",
    good: Annotated[str, typer.Option(help="What that column holds where it is.")] = "1",
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Each row has a better text, chosen, and a worse, rejected.")
    ] = False,
    turn: Annotated[str | None, typer.Option(help="Of whole conversations: what opens the answer to judge.")] = None,
    limit: Annotated[int | None, typer.Option(help="Use the first so many rows.")] = None,
    split: Annotated[str, typer.Option(help="The split, of a data set on the Hub.")] = "train",
    judge_chat: Chat = False,
    judge_alone: Alone = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a judge on texts whose quality is known: accuracy, ties, position bias. Chance is one half.

    Example: trimtab rewind calibrate --data answers.jsonl --column label --good harmless --judge self

    Example: trimtab rewind calibrate --data hh.jsonl --pairs --turn "Assistant:" --judge toxicity=-1
    """
    from dataclasses import asdict

    from trimtab.cli.judges import load_search_judge
    from trimtab.cli.progress import counting
    from trimtab.engines.torch import TorchEngine
    from trimtab.frozen.memory import Memory
    from trimtab.rewind.calibrate import calibrate_on_pairs, calibrate_on_texts
    from trimtab.training.data import column_of, read_table, text_of

    parse_judge(judge)
    lm = load_in(model, dtype)
    asked, engine = load_search_judge(judge, lm, judge_chat, False, judge_alone), TorchEngine(lm.frozen, Memory())

    def draft(prompt: str, text: str) -> "Draft":
        return draft_of(prompt, text, turn, lm.frozen.tokenizer)

    if pairs:
        table: Any = read_table(
            data, split, lambda row: (draft("", text_of(row, "chosen")), draft("", text_of(row, "rejected")))
        )
    else:
        table = read_table(
            data,
            split,
            lambda row: (
                draft(text_of(row, prompt_column) if prompt_column else "", text_of(row, text_column)),
                str(column_of(row, column)) == good,
            ),
        )
    if table.faults:
        error_console().print(f"{len(table.faults)} rows left out; first: {table.faults[0]}", markup=False)
    first, second = zip(*table.rows[:limit], strict=True)
    with counting("texts", error_console()) as progress:
        measure = calibrate_on_pairs if pairs else calibrate_on_texts
        found = measure(asked, first, second, engine, progress)
    for one in found:
        if as_json:
            typer.echo(json.dumps({**asdict(one), "near_chance": one.near_chance}))
        else:
            typer.echo(one.summary)
        if one.warning:
            error_console().print(f"Warning: {one.warning}", style="bold red", markup=False)


def draft_of(prompt: str, text: str, turn: str | None, tokenizer: Any) -> "Draft":
    """A text to judge; of a conversation, what follows the last place that opens an answer.

    Raises:
        ValueError: the conversation has no such place.
    """
    from trimtab.rewind.draft import Draft

    if turn is not None:
        before, opened, text = text.rpartition(turn)
        if not opened:
            raise ValueError(f"no {turn!r} in it")
        prompt = (before + opened).strip()
    ids = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
    asked = tuple(tokenizer(prompt, add_special_tokens=False)["input_ids"]) if prompt else ()
    return Draft(prompt, asked, ids, text, ())


def error_console() -> "Console":
    """What is not the result goes to the standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)
