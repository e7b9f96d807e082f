"""The rows of a job: each is a text, its tokens and rewards, and what made it."""

from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.generation import Generation
from trimtab.jobs.job import Job, RewindJob
from trimtab.jobs.prompts import NumberedPrompt
from trimtab.judges.load import JudgeLike
from trimtab.language_model import LanguageModel
from trimtab.rewind.result import SearchResult
from trimtab.rewind.runner import Progress
from trimtab.steering.steer import Steer


def write_prompts(
    lm: LanguageModel, prompts: Sequence[NumberedPrompt], steer: Steer | None, job: Job
) -> list[dict[str, Any]]:
    """Continue some prompts as one batch; returns one row per sample.

    Args:
        lm: the language model.
        prompts: the prompts.
        steer: the steer of the job, loaded.
        job: the settings.
    """
    written = lm.generate([each.prompt for each in prompts], steer, job.sampling)
    return [
        describe_sample(prompt, sample, job)
        for prompt, generation in zip(prompts, written, strict=True)
        for sample in generation.samples
    ]


def describe_sample(prompt: NumberedPrompt, sample: Generation, job: Job) -> dict[str, Any]:
    """A sample of a prompt as one row."""
    return {"line": prompt.line, "sample": sample.sample, **prompt.given, **describe(sample, job)}


def describe(generation: Generation, job: Job) -> dict[str, Any]:
    """A generation as one JSON object, with the candidates of every token if the job has a trace.

    With drafts it has their usage.
    """
    tokens = list(generation.trace)
    row = {
        "text": generation.text,
        "tokens": [token.text for token in tokens],
        "token_ids": generation.token_ids,
        "rewards": {name: [token.rewards[name] for token in tokens] for name in tokens[0].rewards},
        "steer": list(job.steer),
        "finish_reason": generation.finish_reason,
    }
    if job.sampling.speculate is not None:
        row["usage"] = generation.usage.as_dict()
    if job.trace:
        row["trace"] = [token.as_dict() for token in tokens]
    return row | {"provenance": made_by(generation.provenance, job)}


def search_prompts(
    lm: LanguageModel,
    prompts: Sequence[NumberedPrompt],
    judge: JudgeLike,
    steer: Steer | None,
    job: RewindJob,
    progress: Progress | None = None,
) -> list[SearchResult]:
    """Search a continuation of some prompts, all together."""
    return lm.rewind(
        [each.prompt for each in prompts],
        judge,
        steer,
        job.settings,
        similarity=job.similarity,
        stop=job.stop,
        seed=job.seed,
        budget=job.budget,
        progress=progress,
    )


def describe_search(prompt: NumberedPrompt, result: SearchResult, job: RewindJob) -> dict[str, Any]:
    """A searched continuation as one JSON object, with everything that was taken back and the cost of its call.

    Raises:
        KeyboardInterrupt: the search was interrupted, so the prompt must be searched again.
    """
    if result.finish_reason == "interrupted":
        raise KeyboardInterrupt
    call = {"tokens": result.usage.tokens, "calls": result.usage.calls, "seconds": round(result.seconds, 1)}
    found: dict[str, Any] = result.as_dict()
    del found["prompt"]  # the row has it as it was given
    record = made_by(found.pop("provenance", {}), job)
    return {"line": prompt.line, "sample": 0, **prompt.given, **found, "call": call, "provenance": record}


def made_by(provenance: Mapping[str, Any], job: Job | RewindJob) -> dict[str, Any]:
    """The provenance of a row, with those settings of its job that it does not say already."""
    more = {name: value for name, value in job.record().items() if name not in provenance or provenance[name] != value}
    return {**provenance, "job": more}
