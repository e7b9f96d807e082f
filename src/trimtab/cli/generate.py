"""`trimtab generate`: continue prompts, steered or not."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.best_of_settings import BestOfSettings
from trimtab.cli.console import (
    legible,
    loading,
    output_console,
    print_json,
    print_prompt,
    print_text,
    shown_prompt,
)
from trimtab.cli.dataclass_options import expands
from trimtab.cli.generate_checks import Shown, check_outputs, check_places, check_writers
from trimtab.cli.options import (
    BatchInvariant,
    Chat,
    DraftOption,
    DtypeOption,
    EngineOption,
    Force,
    Method,
    Model,
    PrintJson,
    Prompts,
    Retokenize,
    Source,
    SteerOption,
    System,
    Target,
    load_language_model,
)
from trimtab.cli.prompt_file import check_prompts, check_resume, resolve_seed, run_with_progress
from trimtab.cli.ranking import check_ranking, load_ranking
from trimtab.cli.ray_options import ONE_FOR_EACH_MACHINE, RAY, RayAddress, generate_on_ray
from trimtab.cluster.ray_actors import RayActors
from trimtab.engines.engine_names import check_engine_steers
from trimtab.engines.sampling_params import SamplingParams

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rich.console import Console

    from trimtab.generation import Generation
    from trimtab.jobs import Job, NumberedPrompt
    from trimtab.judges.base import Judge
    from trimtab.language_model import LanguageModel
    from trimtab.models.codec import TokenizerCodec
    from trimtab.steering.steer import Steer


@expands
def generate(
    sampling: Annotated[SamplingParams, "Sampling"],
    ranking: Annotated[BestOfSettings, "Best of n"],
    prompts: Prompts = None,
    model: Model = "smollm2",
    dtype: DtypeOption = "auto",
    batch_invariant: BatchInvariant = False,
    engine: EngineOption = "torch",
    steer: SteerOption = None,
    method: Method = None,
    retokenize: Retokenize = False,
    draft: DraftOption = None,
    chat: Chat = False,
    system: System = None,
    stream: Annotated[bool, typer.Option("--stream", help="Print each token when it is written; one prompt.")] = False,
    show_rewards: Annotated[
        bool, typer.Option("--show-rewards", help="Colour each word by how well it follows the steer.")
    ] = False,
    trace: Annotated[
        bool,
        typer.Option("--trace", help="Show the candidates of every token; with --json or --output, put them into it."),
    ] = False,
    as_json: PrintJson = False,
    source: Source = None,
    target: Target = None,
    force: Force = False,
    batch_size: Annotated[int, typer.Option(help="Prompts of --input in one batch.")] = 16,
    ray: RayAddress = None,
    actors: Annotated[RayActors, RAY] = ONE_FOR_EACH_MACHINE,
) -> None:
    """Continue prompts with a frozen language model, steered by rewards.

    Example: trimtab generate "My first day at work was" --steer toxicity=-30 --steer sentiment=+20 --show-rewards

    Example: trimtab generate "Describe your day." --chat --system "You are a pirate." --steer sentiment=+20

    Example: trimtab generate --input prompts.jsonl --output texts.jsonl --steer sentiment=+20 --seed 0

    Example: trimtab generate --input "prompts/*.jsonl" --output texts --ray auto --actors 8 --actor-gpus 1

    Example: trimtab generate "My first day at work was" --best-of 16 --by toxicity=-1
    """
    shown = Shown(as_json, show_rewards, trace)
    check_outputs(prompts, steer or [], sampling, ranking, bool(source), stream, shown)
    check_writers(steer or [], method, engine, batch_invariant, sampling, draft)
    check_places(prompts, source, target, batch_size, force, ray, actors, ranking)
    from trimtab.jobs.job import Job

    job = Job(
        model=model,
        dtype=dtype,
        steer=tuple(steer or ()),
        method=method,
        retokenize=retokenize,
        sampling=sampling,
        chat=chat,
        system=system,
        batch_invariant=batch_invariant,
        trace=trace,
        engine=engine,
        ranking=None if ranking.best_of is None else ranking,
    )
    codec = check_job(job, ranking, prompts, source)
    if ray is not None and source is not None and target is not None:
        return generate_on_ray(source, target, job, ray, actors, batch_size, draft, force)
    job = replace(job, sampling=replace(sampling, seed=resolve_seed(sampling.seed, None if force else target)))
    check_resume(source, target, codec, job, force)
    lm = load_language_model(model, dtype, batch_invariant, engine, draft, codec)
    steering, by = load_rewards(job, lm)
    if source is not None and target is not None:
        write = partial(write_rows, lm, steer=steering, by=by, job=job)
        run_with_progress(lm, source, target, write, job, batch_size, steering, force=force, by=by)
    elif stream:
        print_stream(lm, prompts or [], steering, job)
    else:
        print_generations(lm, prompts or [], steering, by, job, shown)


def check_job(
    job: "Job", ranking: BestOfSettings, prompts: list[str] | None, source: "Path | None"
) -> "TokenizerCodec":
    """Refuse what does not fit the model or the rewards, before any weights load; returns the model's codec.

    Errors as in `check_prompts` and `check_ranking`.
    """
    steer, method, retokenize = list(job.steer), job.method, job.retokenize
    with loading(job.model):
        codec = check_prompts(prompts, job.chat, job.system, job.model, steer, method, source, retokenize)
        job.sampling.check_vocabulary(len(codec.tokenizer))
        if steer:
            job.sampling.check_choice(len(codec.tokenizer))

        from trimtab.rewards.registry import cards_of, check_candidates

        check_candidates(steer, method, job.sampling.top_k, codec, retokenize)
        check_engine_steers(job.engine, cards_of(steer, method, codec, retokenize))
    check_ranking(ranking, job.sampling, codec, retokenize)
    return codec


def load_rewards(job: "Job", lm: "LanguageModel") -> "tuple[Steer | None, Steer | Judge | None]":
    """Load the steer of a job, and what ranks its drafts."""
    from trimtab.rewards.registry import load_steers

    with loading("rewards"):
        steering = load_steers(list(job.steer), job.method, lm.base, job.retokenize) if job.steer else None
        return steering, load_ranking(job, lm.base if job.ranking else None)


def write_rows(
    lm: "LanguageModel",
    prompts: "Sequence[NumberedPrompt]",
    steer: "Steer | None",
    by: "Steer | Judge | None",
    job: "Job",
) -> list[dict[str, Any]]:
    """Continue some prompts of a file, and return the rows of their texts, or of their best drafts."""
    from trimtab.jobs import write_prompts, write_ranked

    if by is not None:
        return write_ranked(lm, prompts, steer, by, job)
    return write_prompts(lm, prompts, steer, job)


def print_stream(lm: "LanguageModel", prompts: list[str], steer: "Steer | None", job: "Job") -> None:
    """Print one continuation while it is written."""
    from trimtab.jobs import number_prompts

    (numbered,) = number_prompts(prompts, job.chat, job.system)
    console = output_console()
    print_prompt(console, numbered)
    for token in lm.stream(numbered.prompt, steer, job.sampling):
        console.file.write(legible(token.text))
        console.file.flush()
    console.print()


def print_generations(
    lm: "LanguageModel", prompts: list[str], steer: "Steer | None", by: "Steer | Judge | None", job: "Job", shown: Shown
) -> None:
    """Continue prompts as one batch and print them."""
    from trimtab.jobs import number_prompts

    console = output_console()
    numbered = number_prompts(prompts, job.chat, job.system)
    for prompt, samples in zip(numbered, written_samples(lm, numbered, steer, by, job), strict=True):
        for sample, row in samples:
            if shown.as_json:
                print_json(row())
            else:
                print_sample(console, prompt, sample, steer, shown)


def written_samples(
    lm: "LanguageModel",
    prompts: "Sequence[NumberedPrompt]",
    steer: "Steer | None",
    by: "Steer | Judge | None",
    job: "Job",
) -> "list[list[tuple[Generation, Callable[[], dict[str, Any]]]]]":
    """Return the samples of each prompt, or its best drafts, each with the function that makes its row."""
    from trimtab.jobs import describe_ranked, describe_sample, rank_prompts

    if by is not None:
        ranked = rank_prompts(lm, prompts, steer, by, job)
        return [
            [(each.draft, partial(describe_ranked, prompt, each, job)) for each in best]
            for prompt, best in zip(prompts, ranked, strict=True)
        ]
    written = lm.generate([each.prompt for each in prompts], steer, job.sampling)
    return [
        [(sample, partial(describe_sample, prompt, sample, job)) for sample in generation.samples]
        for prompt, generation in zip(prompts, written, strict=True)
    ]


def print_sample(
    console: "Console", prompt: "NumberedPrompt", sample: "Generation", steer: "Steer | None", shown: Shown
) -> None:
    """Print a prompt and its continuation, with the details that were asked for."""
    if shown.rewards and steer is not None:
        from trimtab.cli.reward_text import print_rewards, token_texts

        rewards = {name: [token.rewards[name] for token in sample.trace] for name in sample.mean_rewards}
        print_rewards(console, shown_prompt(prompt), token_texts(sample), rewards, steer)
    else:
        print_prompt(console, prompt)
        print_text(console, sample.text)
    if shown.trace:
        print_text(console, str(sample.trace))
