"""`trimtab generate`: continue prompts, steered or not."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.cli.models import Model, Numbers, load_in
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
from trimtab.engines.settings import DEFAULT_MAX_NEW_TOKENS, DEFAULT_TOP_K, Sampling
from trimtab.errors import InvalidSetting

if TYPE_CHECKING:
    from rich.console import Console

    from trimtab.jobs import Job
    from trimtab.lm import LanguageModel
    from trimtab.steering.steer import Steer


def generate(
    prompts: Prompts = None,
    model: Model = "smollm2",
    dtype: Numbers = "auto",
    steer: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:ATTRIBUTE]=±BETA", help="Steer by a reward; repeat for several."),
    ] = None,
    method: Annotated[str | None, typer.Option(help="arm or rad, where a bundled reward has both.")] = None,
    top_k: Annotated[int, typer.Option(help="Candidates a step; 0 for no limit.")] = DEFAULT_TOP_K,
    top_p: Annotated[float | None, typer.Option(help="Keep the fewest candidates of this probability.")] = None,
    temperature: Annotated[float, typer.Option(help="0 takes the best.")] = 1.0,
    max_new_tokens: Annotated[int, typer.Option(help="The most tokens to write.")] = DEFAULT_MAX_NEW_TOKENS,
    n: Annotated[int, typer.Option("--n", help="Samples of each prompt.")] = 1,
    stop: Stop = None,
    seed: Seed = None,
    chat: ChatTemplate = False,
    stream: Annotated[bool, typer.Option("--stream", help="Print as it is written; one prompt.")] = False,
    show_rewards: Annotated[bool, typer.Option("--show-rewards", help="Colour each token by its reward.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    source: Source = None,
    target: Target = None,
    batch_size: Annotated[int, typer.Option(help="Prompts of --input written together.")] = 16,
) -> None:
    """Continue prompts with a frozen language model, steered by rewards.

    Example: trimtab generate "The new neighbours are" --steer toxicity=-30 --steer sentiment=+20 --show-rewards
    """
    check_sources(prompts, source, target)
    if stream and (source or as_json or n != 1 or len(prompts or []) != 1):
        raise InvalidSetting("got --stream, expected with it one prompt, one sample, no --json and no --input")
    if show_rewards and (stream or source or as_json):
        raise InvalidSetting("got --show-rewards, expected with it no --stream, --json or --input")
    check_method(method)
    sampling = Sampling(top_k or None, top_p, temperature)
    for text in steer or []:
        parse_steer(text)

    from rich.console import Console

    from trimtab.jobs import Job, write_prompts

    job = Job(
        model=model,
        dtype=dtype,
        steer=tuple(steer or ()),
        method=method,
        sampling=sampling,
        max_new_tokens=max_new_tokens,
        n=n,
        seed=seed_of(seed, target),
        chat=chat,
        stop=tuple(stop or ()),
    )
    lm = load_in(model, dtype)
    steering = load_steers(steer or [], method, lm)
    if source is not None and target is not None:
        run_with_progress(lm, source, target, lambda batch: write_prompts(lm, batch, steering, job), job, batch_size)
    elif stream:
        print_stream(Console(highlight=False), lm, (prompts or [])[0], steering, job)
    else:
        print_generations(Console(highlight=False), lm, prompts or [], steering, job, show_rewards, as_json)


def print_stream(console: "Console", lm: "LanguageModel", prompt: str, steer: "Steer | None", job: "Job") -> None:
    """Print a continuation while it is written."""
    from dataclasses import asdict

    console.print(prompt, style="dim", end="\n" if job.chat else "", markup=False, soft_wrap=True)
    options = asdict(job.sampling)
    for token in lm.stream(
        prompt, steer, **options, max_new_tokens=job.max_new_tokens, stop=job.stop, seed=job.seed, chat=job.chat
    ):
        console.file.write(token.text)
        console.file.flush()
    console.print()


def print_generations(
    console: "Console",
    lm: "LanguageModel",
    prompts: list[str],
    steer: "Steer | None",
    job: "Job",
    show_rewards: bool,
    as_json: bool,
) -> None:
    """Continue prompts as one batch and print them."""
    from trimtab.cli.colours import coloured, legend
    from trimtab.jobs import Prompt, write_prompts

    rows = write_prompts(lm, [Prompt(number, text) for number, text in enumerate(prompts, start=1)], steer, job)
    for row in rows:
        if as_json:
            typer.echo(json.dumps(row, ensure_ascii=False))
        elif show_rewards and row["rewards"]:
            for name, rewards in row["rewards"].items():
                console.print(
                    coloured(row["prompt"], row["tokens"], rewards), legend(name, rewards), sep="\n", soft_wrap=True
                )
        else:
            console.print(row["prompt"], style="dim", end="\n" if job.chat else "", markup=False, soft_wrap=True)
            console.print(row["text"], markup=False, soft_wrap=True)
