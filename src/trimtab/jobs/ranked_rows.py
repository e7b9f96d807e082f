"""The rows of a job that ranks drafts: best-of-n."""

from collections.abc import Sequence
from typing import Any, NamedTuple, final

from trimtab.generation import Generation
from trimtab.jobs.job import Job
from trimtab.jobs.prompts import NumberedPrompt
from trimtab.jobs.rows import describe
from trimtab.judges.base import Judge
from trimtab.language_model import LanguageModel
from trimtab.steering.steer import Steer


@final
class RankedDraft(NamedTuple):
    """One of the best drafts of a prompt.

    Attributes:
        place: 0 for the best.
        draft: the draft; its `sample` is its number among the drafts.
        score: what it was ranked by.
        by: the ranking in records.
    """

    place: int
    draft: Generation
    score: float
    by: tuple[dict[str, object], ...]


def rank_prompts(
    lm: LanguageModel, prompts: Sequence[NumberedPrompt], steer: Steer | None, by: Steer | Judge, job: Job
) -> list[list[RankedDraft]]:
    """Write and rank the drafts of some prompts; returns the best of each, as many as the job has samples.

    Args:
        lm: the language model.
        prompts: the prompts.
        steer: the steer of the job, loaded.
        by: what ranks, loaded.
        job: the settings; it has a ranking.
    """
    settings = job.ranking
    assert settings is not None
    assert settings.best_of is not None
    found = lm.best_of(
        [each.prompt for each in prompts],
        settings.best_of,
        by,
        steer,
        job.sampling,
        repairs=settings.repairs,
        block=settings.block,
        halve_every=settings.halve_every,
        segments=settings.segments,
    )
    return [
        [
            RankedDraft(place, draft, score, ranked.by)
            for place, (draft, score) in enumerate(zip(ranked.drafts, ranked.scores, strict=True))
        ][: job.samples]
        for ranked in found
    ]


def describe_ranked(prompt: NumberedPrompt, ranked: RankedDraft, job: Job) -> dict[str, Any]:
    """One of the best drafts as one JSON object: its place as "sample", its number among the drafts, its score."""
    row = describe(ranked.draft, job)
    row["provenance"] = {**row["provenance"], "by": list(ranked.by)}
    place = {"line": prompt.line, "sample": ranked.place, **prompt.given}
    return {**place, "draft": ranked.draft.sample, "score": ranked.score, **row}


def write_ranked(
    lm: LanguageModel, prompts: Sequence[NumberedPrompt], steer: Steer | None, by: Steer | Judge, job: Job
) -> list[dict[str, Any]]:
    """The rows of the best drafts of some prompts. Arguments as in `rank_prompts`."""
    found = rank_prompts(lm, prompts, steer, by, job)
    return [describe_ranked(prompt, each, job) for prompt, best in zip(prompts, found, strict=True) for each in best]
