"""`trimtab generate`: continue prompts, steered or not."""

import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.cli.dataclass_options import expands
from trimtab.cli.options import (
    Chat,
    DtypeOption,
    Method,
    Model,
    PrintJson,
    Prompts,
    Source,
    SteerOption,
    System,
    Target,
    load_language_model,
)
from trimtab.cli.prompt_file import check_sources, resolve_seed, run_with_progress
from trimtab.engines.sampling_params import SamplingParams
from trimtab.errors import InvalidSetting
from trimtab.rewards.heads import head_of_method
from trimtab.steering.notation import parse_steer

if TYPE_CHECKING:
    from rich.console import Console

    from trimtab.jobs import Job, NumberedPrompt
    from trimtab.language_model import LanguageModel
    from trimtab.steering.steer import Steer


@expands
def generate(
    sampling: Annotated[SamplingParams, "Sampling"],
    prompts: Prompts = None,
    model: Model = "smollm2",
    dtype: DtypeOption = "auto",
    steer: SteerOption = None,
    method: Method = None,
    chat: Chat = False,
    system: System = None,
    stream: Annotated[bool, typer.Option("--stream", help="Print each token when it is written; one prompt.")] = False,
    show_rewards: Annotated[bool, typer.Option("--show-rewards", help="Colour each token by its reward.")] = False,
    as_json: PrintJson = False,
    source: Source = None,
    target: Target = None,
    batch_size: Annotated[int, typer.Option(help="Prompts of --input in one batch.")] = 16,
) -> None:
    """Continue prompts with a frozen language model, steered by rewards.

    Example: trimtab generate "My first day at work was" --steer toxicity=-30 --steer sentiment=+20 --show-rewards

    Example: trimtab generate "Describe your day." --chat --system "You are a pirate." --steer sentiment=+20
    """
    check_sources(prompts, source, target)
    check_outputs(prompts, sampling, bool(source), stream, show_rewards, as_json)
    if method is not None:
        head_of_method(method)
    for text in steer or []:
        parse_steer(text)

    from trimtab.jobs import Job, write_prompts
    from trimtab.rewards.registry import load_steers

    job = Job(
        model=model,
        dtype=dtype,
        steer=tuple(steer or ()),
        method=method,
        sampling=replace(sampling, seed=resolve_seed(sampling.seed, target)),
        chat=chat,
        system=system,
    )
    lm = load_language_model(model, dtype)
    steering = load_steers(steer or [], method, lm.base)
    if source is not None and target is not None:
        write = partial(write_prompts, lm, steer=steering, job=job)
        run_with_progress(lm, source, target, write, job, batch_size, steering)
    elif stream:
        print_stream(lm, prompts or [], steering, job)
    else:
        print_generations(lm, prompts or [], steering, job, show_rewards, as_json)


def check_outputs(
    prompts: list[str] | None, sampling: SamplingParams, file: bool, stream: bool, show_rewards: bool, as_json: bool
) -> None:
    """Refuse output options that exclude each other.

    Raises:
        InvalidSetting: two of them do.
    """
    if stream and (file or as_json or sampling.n != 1 or len(prompts or []) != 1):
        raise InvalidSetting("got --stream, expected with it one prompt, one sample, no --json and no --input")
    if show_rewards and (stream or file or as_json):
        raise InvalidSetting("got --show-rewards, expected with it no --stream, --json or --input")


def print_stream(lm: "LanguageModel", prompts: list[str], steer: "Steer | None", job: "Job") -> None:
    """Print one continuation while it is written."""
    from rich.console import Console

    from trimtab.jobs import number_prompts

    (numbered,) = number_prompts(prompts, job.chat, job.system)
    console = Console(highlight=False)
    print_prompt(console, prompts[0], numbered)
    for token in lm.stream(numbered.prompt, steer, job.sampling):
        console.file.write(token.text)
        console.file.flush()
    console.print()


def print_generations(
    lm: "LanguageModel", prompts: list[str], steer: "Steer | None", job: "Job", show_rewards: bool, as_json: bool
) -> None:
    """Continue prompts as one batch and print them."""
    from rich.console import Console

    from trimtab.jobs import number_prompts, write_prompts

    console = Console(highlight=False)
    numbered = number_prompts(prompts, job.chat, job.system)
    rows = write_prompts(lm, numbered, steer, job)
    for row in rows:
        if as_json:
            typer.echo(json.dumps(row, ensure_ascii=False))
        elif show_rewards and row["rewards"]:
            print_rewards(console, row)
        else:
            print_prompt(console, row["prompt"], numbered[row["line"] - 1])
            console.print(row["text"], markup=False, soft_wrap=True)


def print_prompt(console: "Console", text: str, numbered: "NumberedPrompt") -> None:
    """Print a prompt, dimmed; a conversation's text stands on a line of its own."""
    end = "" if isinstance(numbered.prompt, str) else "\n"
    console.print(text, style="dim", end=end, markup=False, soft_wrap=True)


def print_rewards(console: "Console", row: dict[str, Any]) -> None:
    """Print a text once for each of its rewards, with the tokens in the colours of the reward."""
    from trimtab.cli.console import coloured, legend

    for name, rewards in row["rewards"].items():
        console.print(coloured(row["prompt"], row["tokens"], rewards), legend(name, rewards), sep="\n", soft_wrap=True)
