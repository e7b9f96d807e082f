"""Run searches: everything is checked first, then all prompts are searched together, a batch per turn."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypedDict, final

from trimtab.checking import shown
from trimtab.engines.base import Engine, require
from trimtab.engines.provenance import place_of, provenance, template_options
from trimtab.errors import InvalidSetting
from trimtab.judges.base import Judge, check_scores, description_of, needs_of
from trimtab.judges.draft import Draft
from trimtab.judges.load import JudgeLike, as_judge
from trimtab.models.codec import Prompt
from trimtab.models.usage import Usage
from trimtab.rewind.judged_draft import JudgedDraft
from trimtab.rewind.new_search import check_arguments, check_whole_drafts, new_search, search_seeds
from trimtab.rewind.result import SearchResult
from trimtab.rewind.rewind_settings import Budget, RewindSettings
from trimtab.rewind.search import Search
from trimtab.rewind.similarity import Similarity, as_similarity
from trimtab.rewind.writer import PendingRequest, Writer
from trimtab.steering.steer import Steer


@final
@dataclass(frozen=True)
class SearchProgress:
    """The state of the searches of one call, after a turn.

    Attributes:
        searches: all of them.
        usage: what went through the models so far.
        seconds: time since the start.
    """

    searches: Sequence[Search]
    usage: Usage
    seconds: float


Progress = Callable[[SearchProgress], None]


class RewindOptions(TypedDict, total=False):
    """The keyword arguments of `LanguageModel.rewind`."""

    similarity: str | Similarity
    stop: str | Sequence[str] | None
    seed: int | Sequence[int] | None
    budget: Budget | None
    progress: Progress | None


def rewind_prompts(
    engine: Engine,
    prompts: Sequence[Prompt],
    judge: JudgeLike,
    steer: Steer | None,
    settings: RewindSettings | None,
    options: RewindOptions,
) -> list[SearchResult]:
    """Search a continuation of each prompt, all together. Arguments and errors as in `LanguageModel.rewind`."""
    if unknown := sorted(set(options) - set(RewindOptions.__annotations__)):
        known = ", ".join(sorted(RewindOptions.__annotations__))
        raise InvalidSetting(
            f"got {shown(unknown[0])}, expected one of: {known}; other settings belong into RewindSettings(…)"
        )
    settings, budget = settings or RewindSettings(), options.get("budget") or Budget()
    check_arguments(engine, prompts, steer, settings, budget)
    judging, comparing = as_judge(judge), as_similarity(options.get("similarity", "lm"))
    check_whole_drafts(judging, settings)
    require(engine, needs_of(judging), f"the judge {shown(judging.name)}")
    require(engine, comparing.needs, f"similarity={shown(comparing.name)}")
    seeds = search_seeds(options.get("seed"), len(prompts))
    stop = options.get("stop", ())
    stop = (stop,) if isinstance(stop, str) else tuple(stop or ())
    session = engine.session()
    searches = [
        new_search(session, prompt, seed, judging, steer, settings, budget)
        for prompt, seed in zip(prompts, seeds, strict=True)
    ]
    place = {**place_of(engine), **template_options(engine.codec)}
    record = partial(search_provenance, engine, steer, judging, comparing, settings, budget, stop, place)
    runner = SearchRunner(session, Writer(session, steer, stop, settings), judging, comparing)
    last = runner.run(searches, budget, options.get("progress"))
    return [
        SearchResult(engine.codec, prompt, search, stop, last.usage, last.seconds, partial(record, seed))
        for prompt, search, seed in zip(prompts, searches, seeds, strict=True)
    ]


def search_provenance(
    engine: Engine,
    steer: Steer | None,
    judge: Judge,
    similarity: Similarity,
    settings: RewindSettings,
    budget: Budget,
    stop: Sequence[str],
    place: Mapping[str, object],
    seed: int,
) -> dict[str, Any]:
    """Return the record of what writes a searched text, ready for JSON."""
    return provenance(engine, steer, None, **search_facts(judge, similarity, settings, budget, stop, seed), **place)


def search_facts(
    judge: Judge, similarity: Similarity, settings: RewindSettings, budget: Budget, stop: Sequence[str], seed: int
) -> dict[str, Any]:
    """Return what a record says of a search, ready for JSON; without `lookahead`, which changes no text."""
    search = asdict(settings)
    del search["lookahead"]
    return {
        "method": "rewind",
        "judge": description_of(judge),
        "similarity": similarity.name,
        "search": search,
        "budget": asdict(budget),
        "stop": list(stop),
        "seed": seed,
    }


@final
class SearchRunner:
    """Runs searches together: each turn writes and judges what all of them need, as batches.

    Args:
        engine: an engine session; it keeps prefixes and counts usage.
        writer: writes branches and drafts.
        judge: scores drafts.
        similarity: compares branches.
    """

    def __init__(self, engine: Engine, writer: Writer, judge: Judge, similarity: Similarity):
        self._engine, self._writer, self._judge, self._similarity = engine, writer, judge, similarity

    def run(self, searches: Sequence[Search], budget: Budget, progress: Progress | None = None) -> SearchProgress:
        """Search until all texts are finished or the budget is spent. Ctrl-C ends them with the best drafts so far.

        Returns:
            The state after the last turn.
        """
        start, before = time.monotonic(), self._engine.usage

        def state() -> SearchProgress:
            return SearchProgress(searches, self._engine.usage - before, time.monotonic() - start)

        try:
            while pending := [(search, wanted) for search in searches for wanted in search.pending()]:
                self._turn(pending)
                now = state()
                if progress is not None:
                    progress(now)
                for search in searches:
                    if not search.finished and exhausted(now, budget):
                        search.stop("budget")
        except KeyboardInterrupt:
            for search in searches:
                if not search.finished:
                    search.stop("interrupted")
        return state()

    def _turn(self, pending: Sequence[PendingRequest]) -> None:
        drafts_written = self._writer.write(pending)
        if not drafts_written:
            return
        drafts = [written.draft for _, _, written in drafts_written]
        scores = self._scores(drafts)
        embeddings = self._similarity.embed(drafts, self._engine)
        for (search, node, written), score, of_draft in zip(drafts_written, scores, embeddings, strict=True):
            search.judged[node] = JudgedDraft(
                written.draft, score, written.choices, written.rollout_text, of_draft, written.ended
            )

    def _scores(self, drafts: Sequence[Draft]) -> list[float]:
        """RAIN's s of each draft: −1 (bad) to 1 (good)."""
        scores = check_scores(self._judge.name, self._judge.score(drafts, self._engine), len(drafts))
        return [2 * score - 1 for score in scores]


def exhausted(state: SearchProgress, budget: Budget) -> bool:
    """Whether the budget of tokens or of seconds is spent."""
    limits = ((state.usage.tokens, budget.max_encoded), (state.seconds, budget.max_seconds))
    return any(limit is not None and value >= limit for value, limit in limits)
